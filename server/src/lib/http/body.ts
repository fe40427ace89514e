import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { cardFaults } from '../cards.ts';
import { AppError } from '../errors.ts';
import { shapeFaults } from './shape.ts';
import { textFaults } from './text.ts';
import { invalid } from './validation.ts';

/**
 * Accepts JSON bodies and nothing else (a plugin may add a parser of its own for its routes). Refuses what is not
 * UTF-8 (RFC 8259, section 8.1), not JSON, nested too deep, of too many values, would poison a prototype, or holds text no table can store.
 */
export const acceptJson = (app: FastifyInstance): void => {
  // The type of Fastify's own parser forgets its arguments.
  const parseJson = app.getDefaultJsonParser('error', 'error') as unknown as JsonParser;
  app.removeAllContentTypeParsers();
  const parse = (request: FastifyRequest, bytes: Buffer, done: ParsedBody): void => {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      return done(new AppError('unsupported_media_type', 'Send the body without a Content-Encoding.'));
    }
    // No body at all: the schema says whether one is needed.
    if (bytes.length === 0) return done(null, undefined);
    if (!isUtf8(bytes)) {
      return done(new AppError('invalid_request', 'The body is not valid UTF-8.', { faults: notUtf8 }));
    }
    const misshapen = shapeFaults(bytes);
    if (misshapen.length > 0) return done(invalid(misshapen));
    return parseJson(request, bytes.toString('utf8'), (error, body) => {
      if (error) return done(error);
      const unstorable = textFaults(body);
      const faults = unstorable.length > 0 ? unstorable : cardFaults(body);
      return faults.length > 0 ? done(invalid(faults)) : done(null, body);
    });
  };
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, parse);
  app.addContentTypeParser<Buffer>(/^application\/[\w.+-]+\+json$/, { parseAs: 'buffer' }, parse);
};

/** A `preValidation` hook for routes whose body is all optional: a request without a body means `{}`. */
export const absentBodyIsEmpty = async (request: FastifyRequest): Promise<void> => {
  // Not `??=`: a body that says `null` is there, and the schema refuses it.
  if (request.body === undefined) request.body = {};
};

type JsonParser = (request: FastifyRequest, text: string, done: ParsedBody) => void;
type ParsedBody = (error: Error | null, body?: unknown) => void;

const notUtf8 = [{ field: 'body', message: 'must be valid UTF-8' }];
