import { Type, type Static, type TProperties } from 'typebox';
import { roles, type Mode } from '../lib/caller.ts';
import { freeText, idOf, timeOutput, versionOutput } from '../lib/http/schemas.ts';

const closed = <Properties extends TProperties>(properties: Properties, options: object = {}) =>
  Type.Object(properties, { additionalProperties: false, ...options });

/** The short name of a vendor, in paths of its secrets and in the header `Florin-Vendor`. */
export const slugPattern = '^[a-z0-9]+(-[a-z0-9]+)*$';
export const clientIdPattern = '^[A-Za-z0-9._-]{3,64}$';

const Slug = Type.String({
  minLength: 1,
  maxLength: 63,
  pattern: slugPattern,
  'x-expected': 'small letters, digits and single hyphens, such as corner-shop',
  description: 'Unique short name: small letters, digits and hyphens. It can’t be changed.',
  examples: ['corner-shop'],
});
const Name = freeText(200, {
  minLength: 1,
  description: 'What people call it.',
  examples: ['Corner Shop Ltd'],
});
const ModeOf = (description: string) => Type.Enum(['test', 'live'], { description, examples: ['test'] });
const RoleOf = (description: string) => Type.Enum([...roles], { description, examples: ['developer'] });

const FeeBasisPoints = Type.Integer({
  minimum: 0,
  maximum: 10_000,
  description: 'Fee of a payment in hundredths of a percent of its amount: 290 is 2.9 %.',
  examples: [290],
});
const FeeFixed = Type.Record(
  Type.String({ pattern: '^[A-Z]{3}$' }),
  Type.String({
    maxLength: 15,
    pattern: '^[0-9]{1,15}$',
    'x-expected': 'minor units, a string of digits such as "30"',
  }),
  {
    maxProperties: 200,
    description: 'Fee of a payment on top, in minor units per currency.',
    examples: [{ USD: '30' }],
  },
);
const IdempotencyRequired = Type.Boolean({
  description: 'Whether writes without an Idempotency-Key are refused.',
});
const OverdraftAllowed = Type.Boolean({ description: 'Whether refunds may bring the balance below zero.' });

/** What can be changed of a vendor. */
const terms = {
  name: Name,
  fee_basis_points: FeeBasisPoints,
  fee_fixed: FeeFixed,
  idempotency_required: IdempotencyRequired,
  overdraft_allowed: OverdraftAllowed,
};

const { name, ...optionalTerms } = terms;

export const CreateVendorBody = closed({
  slug: Slug,
  name,
  ...Type.Partial(Type.Object(optionalTerms)).properties,
  role: Type.Optional(RoleOf('What the first client may do; `developer` unless told.')),
  client_id: Type.Optional(
    Type.String({
      minLength: 3,
      maxLength: 64,
      pattern: clientIdPattern,
      description: 'Id of the first client; made up when absent.',
      examples: ['corner_shop_client'],
    }),
  ),
});

/** A vendor to create; its first client has the mode of whoever asks, `test` unless told. */
export type CreateVendor = Static<typeof CreateVendorBody> & { mode?: Mode };

export const UpdateVendorBody = closed(Type.Partial(Type.Object(terms)).properties, { minProperties: 1 });
export type UpdateVendor = Static<typeof UpdateVendorBody>;

const Client = closed({
  client_id: Type.String({ maxLength: 64, examples: ['corner_shop_client'] }),
  mode: ModeOf('The mode of its payments.'),
  role: RoleOf('What it may do.'),
});

export const Vendor = closed({
  id: idOf('vendor'),
  slug: Slug,
  name: Name,
  enabled: Type.Boolean({ description: 'A disabled vendor can’t call; nothing of it is lost.' }),
  version: versionOutput(),
  fee_basis_points: FeeBasisPoints,
  fee_fixed: FeeFixed,
  idempotency_required: IdempotencyRequired,
  overdraft_allowed: OverdraftAllowed,
  clients: Type.Array(Client, {
    maxItems: 100,
    description: 'Its client ids; their secrets are in the vault.',
  }),
  created_at: timeOutput(),
  updated_at: timeOutput(),
});
export type VendorJson = Static<typeof Vendor>;

const shownOnce = 'Shown in this answer only; write it down. A dry run does not show it.';

export const CreatedVendor = closed({
  ...Vendor.properties,
  client_secret: Type.String({
    maxLength: 100,
    'x-secret': true,
    description: `Secret of the first client. ${shownOnce}`,
  }),
});

export const CreateApiKeyBody = closed({
  name: freeText(200, { minLength: 1, description: 'What the key is for.', examples: ['Checkout server'] }),
  role: Type.Optional(RoleOf('What the key may do; `developer` unless told.')),
  expires_at: Type.Optional(
    Type.String({
      format: 'date-time',
      maxLength: 40,
      description: 'When it ends by itself; never unless told.',
      examples: ['2030-01-01T00:00:00Z'],
    }),
  ),
});
export type CreateApiKey = Static<typeof CreateApiKeyBody>;

const nullable = (time: ReturnType<typeof timeOutput>) => Type.Union([time, Type.Null()]);

export const ApiKey = closed({
  id: idOf('api_key'),
  name: Type.String({ maxLength: 200 }),
  prefix: Type.String({
    maxLength: 20,
    description: 'How it begins: to recognise it.',
    examples: ['fk_test_3f9a2c'],
  }),
  mode: ModeOf('The mode of its payments.'),
  role: RoleOf('What it may do.'),
  vendor: Type.Union([idOf('vendor'), Type.Null()], {
    description: 'Whose key; null for a key of the platform.',
  }),
  default_vendor: Type.Union([idOf('vendor'), Type.Null()], {
    description: 'Whom a key of the platform acts for when a request names no vendor.',
  }),
  created_at: timeOutput(),
  expires_at: nullable(timeOutput()),
  last_used_at: nullable(timeOutput({ description: 'To about half a minute.' })),
  revoked_at: nullable(timeOutput()),
});
export type ApiKeyJson = Static<typeof ApiKey>;

export const CreatedApiKey = closed({
  ...ApiKey.properties,
  key: Type.String({
    maxLength: 100,
    'x-secret': true,
    description: `The key itself. ${shownOnce}`,
    examples: ['fk_test_3f9a2c…'],
  }),
});
