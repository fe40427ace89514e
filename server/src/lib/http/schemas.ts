import { Type, type TSchema, type TSchemaOptions } from 'typebox';
import { errorKinds, type ErrorCode } from '../errors.ts';
import { idPattern, idPrefixes, type Id, type IdKind } from '../ids.ts';

const exampleSuffix = '01h455vb4pex5vsknk084sn02q';

/** The public id of one kind of object, `pay_01h455vb4pex5vsknk084sn02q`. */
export const idOf = <Kind extends IdKind>(kind: Kind, options: TSchemaOptions = {}) =>
  Type.Unsafe<Id<Kind>>({
    type: 'string',
    maxLength: idPrefixes[kind].length + 27,
    pattern: idPattern(kind),
    'x-expected': `an id that starts with ${idPrefixes[kind]}_`,
    examples: [`${idPrefixes[kind]}_${exampleSuffix}`],
    ...options,
  });

/**
 * The path parameter `id`. What is not even an id of this kind cannot exist, so it answers 404 like what does not.
 * @param noun how the 404 names the object, `No such payment.`
 */
export const idParams = <Kind extends IdKind>(kind: Kind, noun: string = kind.replaceAll('_', ' ')) =>
  Type.Object({ id: idOf(kind, { description: `Id of the ${noun}.` }) }, { 'x-noun': noun });

/** An amount as a caller writes it: a JSON number, read by its shortest decimal form, or a decimal string. */
export const amountInput = (options: TSchemaOptions = {}) =>
  Type.Union([Type.Number(), Type.String({ maxLength: 40 })], {
    'x-expected': 'a number or a decimal string, such as "10.50"',
    description: 'An amount in major units, such as "10.50", no more precise than the currency (ISO 4217).',
    ...options,
  });

/** ISO 4217 code as a caller writes it; whether the currency exists is decided where money is parsed. */
export const currencyCode = (options: TSchemaOptions = {}) =>
  Type.String({
    maxLength: 3,
    pattern: '^[A-Z]{3}$',
    'x-expected': 'an ISO 4217 code of three capital letters, such as EUR',
    examples: ['EUR'],
    ...options,
  });

/** An amount in an answer: `amount` in major units. */
export const amountOutput = (options: TSchemaOptions = {}) =>
  Type.String({
    maxLength: 40,
    description: 'Major units, as a decimal string.',
    examples: ['10.50'],
    ...options,
  });

/** An amount in an answer: `amount_minor` in the currency's smallest unit, a string so that no client rounds it. */
export const amountMinorOutput = (options: TSchemaOptions = {}) =>
  Type.String({
    maxLength: 20,
    pattern: '^-?[0-9]+$',
    description: 'Minor units (cents), as a string of an integer.',
    examples: ['1050'],
    ...options,
  });

/** A time in an answer, ISO 8601 in UTC with milliseconds. */
export const timeOutput = (options: TSchemaOptions = {}) =>
  Type.String({ maxLength: 24, format: 'date-time', examples: ['2026-11-22T08:00:00.000Z'], ...options });

/** How often an object changed, from 1: its version, which is also the sequence of its events. */
export const versionOutput = (options: TSchemaOptions = {}) =>
  Type.Integer({
    minimum: 1,
    maximum: 2_147_483_647,
    description: 'Counts the changes, from 1.',
    ...options,
  });

/** A time as a caller writes it, RFC 3339: `2026-11-22T08:00:00Z`, with or without fractions, any offset. */
export const timeInput = (options: TSchemaOptions = {}) =>
  Type.String({
    maxLength: 40,
    format: 'date-time',
    'x-expected': 'a time with its offset, such as 2026-11-22T08:00:00Z',
    examples: ['2026-11-22T08:00:00Z'],
    ...options,
  });

/** Text that a person wrote. Control characters except line feed and tab are refused in every string of a body. */
export const freeText = (maxLength: number, options: TSchemaOptions = {}) =>
  Type.String({ maxLength, ...options });

/** The caller's own keys and values: at most 50 keys of 40 characters, values of 500. No place for personal data. */
export const metadata = (options: TSchemaOptions = {}) =>
  Type.Unsafe<Record<string, string>>({
    type: 'object',
    maxProperties: 50,
    propertyNames: { type: 'string', minLength: 1, maxLength: 40 },
    additionalProperties: { type: 'string', maxLength: 500 },
    description:
      'Your own keys and values: up to 50 keys of 40 characters, values of 500. Not for personal data.',
    examples: [{ order: '1042' }],
    ...options,
  });

/** The envelope of a list of such items. */
export const listOf = <Item extends TSchema>(item: Item, options: TSchemaOptions = {}) =>
  Type.Object(
    {
      data: Type.Array(item, { maxItems: 100 }),
      has_more: Type.Boolean(),
      next_cursor: Type.Union([Type.String({ maxLength: 500, pattern: '^[A-Za-z0-9_-]+$' }), Type.Null()], {
        description: 'Send it as `cursor` to go on; null on the last page.',
        examples: [null],
      }),
    },
    options,
  );

/** The headers of a write. The names are compared without case. */
export const writeHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: '^[!-~]+$',
      'x-expected': '1 to 255 visible ASCII characters without spaces',
      description: 'Makes a retry safe: one key has one effect and one answer, for 24 hours at least.',
      examples: ['order-1042'],
    }),
  ),
});

/** The header by which a platform key names the vendor it acts for. */
export const vendorHeader = {
  'Florin-Vendor': Type.Optional(
    Type.String({
      maxLength: 64,
      description: 'For platform keys: the vendor to act for, by name or id. An unknown one answers 404.',
    }),
  ),
};

/** Where an error code is explained, relative to the public address. */
export const problemType = (code: ErrorCode): string => `/docs/errors#${code}`;

/** How long the texts of a refusal are at most, and how many faults it names. `problemOf` sees to it. */
export const problemBounds = { detail: 2000, field: 500, message: 500, faults: 100 } as const;

/** The body of every refusal: RFC 9457, with the members `error` and `errors` of the guides. */
export const problemBody = Type.Object(
  {
    type: Type.String({
      maxLength: 100,
      format: 'uri-reference',
      description: 'Where this kind of error is explained.',
    }),
    title: Type.String({
      maxLength: 100,
      description: 'What this kind of error is, always the same for a code.',
    }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({
      maxLength: problemBounds.detail,
      description: 'What is wrong with this request and what to change.',
    }),
    code: Type.Enum(Object.keys(errorKinds) as ErrorCode[], { description: 'Stable, for programs.' }),
    request_id: Type.String({
      maxLength: 64,
      description: 'Quote it when you ask for help. Also in X-Request-Id.',
    }),
    error: Type.String({ maxLength: problemBounds.detail, description: 'The same as `detail`.' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          field: Type.String({ maxLength: problemBounds.field }),
          message: Type.String({ maxLength: problemBounds.message }),
        }),
        {
          maxItems: problemBounds.faults,
          description: 'Every fault of a refused request, one a field.',
        },
      ),
    ),
  },
  { $id: 'Problem', description: 'An error as RFC 9457 describes it.' },
);
