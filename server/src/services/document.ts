import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { rootDirectory } from '../lib/config/config.ts';

/** Where the contract of the API is kept: written by `npm run api-document`, compared by a test. */
export const documentFile = join(rootDirectory, 'docs', 'api', 'openapi.json');

/** The groups of operations, in the order of the reference. */
export const documentTags = [
  { name: 'Access', description: 'Tokens for vendors.' },
  { name: 'Payments', description: 'Taking money, capturing, cancelling, refunding.' },
  { name: 'Customers', description: 'Who pays. Personal data is kept here and nowhere else.' },
  { name: 'Ledger', description: 'The books: accounts, entries, transfers.' },
  { name: 'Vendors', description: 'Who is paid, and on which terms.' },
  { name: 'API keys', description: 'Keys for programs.' },
  { name: 'Audit', description: 'Who did what.' },
  { name: 'Health', description: 'Whether it works.' },
];

/** The document as it is published: the kept contract, with this installation's address. */
export const publishedDocument = (publicUrl: string): object => {
  const document = JSON.parse(readFileSync(documentFile, 'utf8')) as { info: object };
  return {
    ...document,
    info: { ...document.info, contact: { name: 'The operator of this Florin', url: publicUrl } },
    servers: [{ url: publicUrl, description: 'This Florin' }],
  };
};

/** The document that the routes of a running server make, for the kept contract. */
export const madeDocument = async (app: FastifyInstance): Promise<object> => {
  await app.ready();
  return app.swagger();
};
