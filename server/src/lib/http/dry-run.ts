import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { invalidField } from '../errors.ts';
import { amountMinorOutput, amountOutput, currencyCode, idOf, versionOutput } from './schemas.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * What `Dry-Run: true` does on a route that is no GET: `preview` answers what the write would do; `ignored` says that
     * the route changes nothing. An operation of the API that says neither does not register.
     */
    dryRun?: 'preview' | 'ignored';
  }

  interface FastifyRequest {
    /** Whether what the request asks for is shown and not done. */
    isDryRun: boolean;
  }
}

/**
 * Reads the header `Dry-Run`, and echoes it where it is honoured. Reads ignore it; a write that knows no dry run refuses
 * it, because doing what somebody only wanted to see is the worst answer.
 */
export const readDryRun = (app: FastifyInstance): void => {
  app.decorateRequest('isDryRun', false);
  app.addHook('onRequest', (request, reply, done) => {
    const given = request.headers['dry-run'];
    if (given === undefined || given === 'false') return done();
    if (given !== 'true') return done(invalidField('Dry-Run', 'must be true or false, sent once'));
    const dryRun = isRead(request) ? 'ignored' : request.routeOptions.config?.dryRun;
    if (dryRun === undefined) return done(invalidField('Dry-Run', 'this operation has no dry run'));
    if (dryRun === 'ignored') return done();
    request.isDryRun = true;
    reply.header('dry-run', 'true');
    done();
  });
  app.addHook('onRoute', ({ method, url, schema, config }) => {
    const isOperation = schema !== undefined && 'operationId' in schema;
    const isWrite = [method].flat().some((one) => !readMethods.includes(one));
    if (isOperation && isWrite && config?.dryRun === undefined) {
      throw new Error(`${String(method)} ${url} does not say what Dry-Run does: config.dryRun is missing`);
    }
  });
};

const readMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];

/** What has no route changes nothing either. */
const isRead = (request: FastifyRequest): boolean => request.is404 || readMethods.includes(request.method);

/** The header of a write that is only wanted to be shown. */
export const dryRunHeader = {
  'Dry-Run': Type.Optional(
    Type.Enum(['true', 'false'], {
      description:
        '`true` changes nothing and answers 200 with what the request would do. Refusals are those of the real request.',
      examples: ['false'],
    }),
  ),
};

const nullable = <Schema extends Parameters<typeof Type.Union>[0][number]>(schema: Schema) =>
  Type.Union([schema, Type.Null()]);

const IfApproved = Type.Boolean({
  description: 'Happens only if the backend approves; see `assumes`.',
  examples: [false],
});

const Place = Type.Object({
  account_id: idOf('account'),
  code: Type.String({ maxLength: 100, examples: ['payable'] }),
});

/** What cannot be typed once for all operations: the object of this one. */
const anyObject = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    maxProperties: 100,
    additionalProperties: true,
    description,
    examples: [{ id: 'pay_01h455vb4pex5vsknk084sn02q', object: 'payment', status: 'succeeded' }],
  });

/** The answer to a write with `Dry-Run: true`. Ids of what would be made are made up: the real request gives others. */
export const previewBody = Type.Object(
  {
    dry_run: Type.Literal(true),
    status: Type.Integer({
      minimum: 200,
      maximum: 299,
      description: 'With what the request would be answered.',
    }),
    replayed: Type.Boolean({
      description:
        'The Idempotency-Key was used with this very request: its stored answer would be given again, and nothing else happen.',
      examples: [false],
    }),
    result: anyObject(
      'The body that would be answered, as described for `status`, without secrets. Ids of new objects are made up.',
    ),
    assumes: nullable(
      Type.Object(
        {
          connector: Type.String({ maxLength: 64, examples: ['sandbox'] }),
          operation: Type.String({ maxLength: 64, examples: ['authorise'] }),
          outcome: Type.Literal('approved'),
        },
        {
          description:
            'A backend would be asked, and was not. `status` and `result` are those of an approval; before, the object is ' +
            '`processing`, as the first event tells.',
        },
      ),
    ),
    postings: Type.Array(
      Type.Object({
        ...Place.properties,
        kind: Type.String({ maxLength: 64, description: 'Of the transfer.', examples: ['payment'] }),
        direction: Type.Enum(['debit', 'credit']),
        amount: amountOutput(),
        amount_minor: amountMinorOutput(),
        currency: currencyCode(),
        balance_after: nullable(
          amountOutput({ description: 'Null for callers who may not read the ledger (role `finance`).' }),
        ),
        balance_after_minor: nullable(amountMinorOutput()),
        if_approved: IfApproved,
      }),
      { maxItems: 1000, description: 'The entries that the ledger would get.' },
    ),
    fees: Type.Array(
      Type.Object({
        kind: Type.Enum(['charged', 'returned']),
        amount: amountOutput({ examples: ['0.30'] }),
        amount_minor: amountMinorOutput({ examples: ['30'] }),
        currency: currencyCode(),
        if_approved: IfApproved,
      }),
      { maxItems: 1000, description: 'What of the postings is the platform’s fee.' },
    ),
    holds: Type.Array(
      Type.Object({
        action: Type.Enum(['placed', 'ended']),
        amount: amountOutput(),
        amount_minor: amountMinorOutput(),
        currency: currencyCode(),
        from: Place,
        to: Place,
        if_approved: IfApproved,
      }),
      { maxItems: 1000, description: 'Money that would be set aside, or be set aside no longer.' },
    ),
    events: Type.Array(
      Type.Object({
        type: Type.String({ maxLength: 64, examples: ['payment.succeeded'] }),
        object: nullable(Type.String({ maxLength: 64, examples: ['payment'] })),
        object_id: nullable(Type.String({ maxLength: 64, examples: ['pay_01h455vb4pex5vsknk084sn02q'] })),
        version: nullable(versionOutput()),
        data: anyObject('The object as it would be then.'),
        if_approved: IfApproved,
      }),
      { maxItems: 1000, description: 'The entries that the journal would get, in their order.' },
    ),
  },
  { $id: 'Preview', description: 'What a write would do. Nothing was changed.' },
);
export type Preview = Static<typeof previewBody>;
