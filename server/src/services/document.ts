import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { accessRoutes } from '../access/routes.ts';
import { systemClock } from '../lib/clock.ts';
import { rootDirectory } from '../lib/config/config.ts';
import { buildServer } from '../lib/http/server.ts';
import { createMetrics } from '../lib/metrics.ts';
import { describeApi } from '../lib/openapi/describe.ts';
import { describeWebhooks } from '../lib/openapi/webhooks.ts';
import { envelopeProperties } from '../events/schema.ts';
import { sentEvents } from './event-payloads.ts';
import { apiHealthRoutes, healthRoutes } from './health.ts';
import { moduleRoutes } from './routes.ts';

/** Where the contract of the API is kept: written by `npm run api-document`, compared with the routes by a test. */
export const documentFile = join(rootDirectory, 'docs', 'api', 'openapi.json');

/** The groups of operations, in the order of the reference. */
const tags = [
  { name: 'Access', description: 'Tokens for vendors.' },
  { name: 'Payments', description: 'Taking money, capturing, cancelling, refunding.' },
  { name: 'Customers', description: 'Who pays. Personal data is kept here and nowhere else.' },
  { name: 'Events', description: 'What happened, in one order.' },
  { name: 'Webhooks', description: 'Telling your servers what happens.' },
  { name: 'Ledger', description: 'The books: accounts, entries, transfers.' },
  { name: 'Reconciliation', description: 'What payment backends say, compared with the books.' },
  { name: 'Vendors', description: 'Who is paid, and on which terms.' },
  { name: 'API keys', description: 'Keys for programs.' },
  { name: 'Audit', description: 'Who did what.' },
  { name: 'Journal', description: 'Proof that it was recorded, and that nothing was changed since.' },
  { name: 'Health', description: 'Whether it works.' },
];

/** The kept contract, with the address and environment of this installation. */
export const publishedDocument = ({ publicUrl, env }: { publicUrl: string; env: string }): object => {
  const document = JSON.parse(readFileSync(documentFile, 'utf8')) as {
    info: { contact: object };
    servers: object[];
  };
  document.info.contact = { ...document.info.contact, url: publicUrl };
  const servers = document.servers.map((server) => ({
    ...server,
    url: publicUrl,
    description: `This Florin (${env})`,
  }));
  return { ...document, servers };
};

/** Makes the OpenAPI document of all public routes, from their schemas. */
export const makeDocument = async (version: string): Promise<object> => {
  const app = buildServer({
    config: { server: unusedSettings },
    log: pino({ enabled: false }),
    clock: systemClock,
    metrics: createMetrics({ process: false }),
    name: 'document',
    tls: false,
  });
  const sent = describeWebhooks(sentEvents(), envelopeProperties);
  await describeApi(app, { serverUrl: 'https://florin.example.com', version, tags, sent });
  // No handler runs while routes are only described, so nothing of what they would work with is needed.
  const nothing = {} as never;
  await app.register(accessRoutes(nothing), { prefix: '/api/v1' });
  for (const routes of moduleRoutes(nothing)) await app.register(routes, { prefix: '/api/v1' });
  await app.register(healthRoutes(nothing));
  await app.register(apiHealthRoutes(nothing));
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
};

const unusedSettings = {
  trustProxy: false,
  bodyLimitBytes: 1024,
  requestTimeoutMs: 1_000,
  headersTimeoutMs: 1_000,
  keepAliveTimeoutMs: 1_000,
  connectionsMax: 100,
  requestsMax: 100,
  shutdownGraceMs: 1_000,
  tls: { enabled: false, minVersion: '1.3' as const },
  cors: { allowedOrigins: [], allowCredentials: false },
};
