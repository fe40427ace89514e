import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { AppError, invalidField } from '../lib/errors.ts';
import type { Statement } from './compare.ts';
import type { StatementFormat } from './statement.ts';

/** A statement in a request is held in memory: about 150,000 lines. The command line takes longer ones. */
export const statementBytesMax = 16 * 1024 * 1024;

/** What the sender of a longer one is told. */
export const statementTooLarge =
  'A statement in a request has 16 MiB at most. Compare this one on the command line, `florin reconcile statement.csv`, or ' +
  'split it by days and give the period of each part, `from` and `until`.';

const formats: Readonly<Record<string, StatementFormat>> = {
  'text/csv': 'csv',
  'application/jsonl': 'jsonl',
  'application/x-ndjson': 'jsonl',
};

/** Lets the routes of a plugin take statements. Their lines are looked at when they are read. */
export const acceptStatements = (app: FastifyInstance): void => {
  app.addContentTypeParser<Buffer>(
    Object.keys(formats),
    { parseAs: 'buffer', bodyLimit: statementBytesMax },
    (request: FastifyRequest, bytes, done) => {
      const encoding = request.headers['content-encoding'];
      if (encoding === undefined || encoding === 'identity') return done(null, bytes);
      return done(new AppError('unsupported_media_type', 'Send the statement without a Content-Encoding.'));
    },
  );
};

/** @throws AppError when the body is no statement */
export const statementOf = ({ body, headers }: FastifyRequest): Statement => {
  const [type = ''] = (headers['content-type'] ?? '').toLowerCase().split(';');
  const format = formats[type.trim()];
  if (format && Buffer.isBuffer(body)) return { format, bytes: inPieces(body) };
  if (body === undefined)
    throw invalidField('body', 'must be the statement, as text/csv or application/x-ndjson');
  throw new AppError(
    'unsupported_media_type',
    'Send the statement as Content-Type text/csv or application/x-ndjson.',
  );
};

/** So that whoever reads it can let others have their turn. */
const inPieces = async function* (body: Buffer): AsyncGenerator<Buffer> {
  const pieceBytes = 256 * 1024;
  for (let from = 0; from < body.length; from += pieceBytes) yield body.subarray(from, from + pieceBytes);
};

const csvExample =
  'reference,backend_reference,kind,amount,currency,status,date,fee\n' +
  'op_01h455vb4pex5vsknk084sn02q,ch_1042,charge,100.00,USD,succeeded,2026-11-22T08:00:00Z,0.30\n';
const jsonExample =
  '{"reference":"op_01h455vb4pex5vsknk084sn02q","backend_reference":"ch_1042","kind":"charge","amount":"100.00",' +
  '"currency":"USD","status":"succeeded","date":"2026-11-22T08:00:00Z","fee":"0.30"}\n';

const text = (description: string, example: string) => ({
  schema: Type.Unsafe<Buffer>({
    // Not a string: the bytes are split into lines before they are text.
    description,
    examples: [example],
  }),
});

/** What the document says of the body; it is read line by line, not by a schema. */
export const statementBody = {
  content: {
    'text/csv': text('A header and one line a movement; commas, semicolons or tabs.', csvExample),
    'application/x-ndjson': text('One JSON object a line, its members named like the columns.', jsonExample),
    'application/jsonl': text('The same.', jsonExample),
  },
};
