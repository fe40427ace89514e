import { Type, type Static } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import { amountMinorOutput, idOf, timeOutput, versionOutput } from '../lib/http/schemas.ts';

/** A number that no client may round. */
const countOutput = (description: string, example: string) =>
  Type.String({ maxLength: 20, pattern: '^[0-9]+$', description, examples: [example] });

const hashOutput = (description: string) =>
  Type.String({
    maxLength: 64,
    pattern: '^[0-9a-f]{64}$',
    description: `${description} SHA-256, in hex.`,
    examples: ['e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  });

const keyIdOutput = () =>
  Type.String({
    maxLength: 32,
    pattern: '^[0-9a-f]{32}$',
    description: 'The first half of the SHA-256 of the public key.',
    examples: ['5f083f0a1a33ca076a95279832580db3'],
  });

const signatureOutput = (description: string) =>
  Type.String({
    maxLength: 88,
    pattern: '^[A-Za-z0-9+/]{86}==$',
    description,
    examples: [`${'A'.repeat(86)}==`],
  });

const nullable = <Schema extends Type.TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);

/** A hundred steps prove something of a log with 2^50 entries. */
const stepsOutput = (description: string) =>
  Type.Array(hashOutput('A node of the tree.'), { maxItems: 100, description });

export const HeadJson = Type.Object({
  object: Type.Literal('journal_head'),
  number: countOutput('Counts the heads, from 1.', '7'),
  size: countOutput('How many entries it is over: those at the positions below.', '345'),
  root: hashOutput('The root of the Merkle tree.'),
  timestamp: timeOutput(),
  signatures: Type.Array(
    Type.Object({ key_id: keyIdOutput(), signature: signatureOutput('Ed25519 (RFC 8032), base64.') }),
    { minItems: 1, maxItems: 2, description: 'Two while one key replaces another.' },
  ),
});
export type HeadJson = Static<typeof HeadJson>;

export const KeyJson = Type.Object({
  id: keyIdOutput(),
  public_key: Type.String({
    maxLength: 200,
    description: 'Ed25519, SubjectPublicKeyInfo in PEM.',
    examples: [
      '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
    ],
  }),
  created_at: timeOutput(),
  endorsed_by: nullable(keyIdOutput()),
  endorsement: nullable(signatureOutput('What the key before says of this one, base64.')),
});
export type KeyJson = Static<typeof KeyJson>;

const keysOutput = () =>
  Type.Array(KeyJson, {
    maxItems: 1_000,
    description: 'Every key that ever signed heads, the oldest first.',
  });

export const ListHeadsQuery = listQuery({});

/** Like every list, and the keys that the heads are signed with. */
export const HeadList = Type.Object({
  data: Type.Array(HeadJson, { maxItems: 100 }),
  has_more: Type.Boolean(),
  next_cursor: Type.Union([Type.String({ maxLength: 500, pattern: '^[A-Za-z0-9_-]+$' }), Type.Null()], {
    description: 'Send it as `cursor` to go on; null on the last page.',
    examples: [null],
  }),
  keys: keysOutput(),
});

const sizeInput = (description: string) =>
  Type.String({
    maxLength: 18,
    pattern: '^[1-9][0-9]*$',
    'x-expected': 'the size of a head, a whole number above zero',
    description,
    examples: ['1'],
  });

export const ConsistencyQuery = Type.Object(
  {
    first: Type.Optional(sizeInput('The size of the earlier head; the one before the later unless given.')),
    second: Type.Optional(sizeInput('The size of the later head; the newest unless given.')),
  },
  { additionalProperties: false },
);

export const ConsistencyJson = Type.Object({
  object: Type.Literal('journal_consistency'),
  first: HeadJson,
  second: HeadJson,
  steps: stepsOutput('Proves that the later log begins with the earlier one (RFC 9162, 2.1.4).'),
});
export type ConsistencyJson = Static<typeof ConsistencyJson>;

const Transfer = Type.Object({
  id: idOf('transfer'),
  kind: Type.String({ maxLength: 40, examples: ['payment'] }),
  postings: Type.Array(Type.Object({ account: idOf('account'), amount: amountMinorOutput() }), {
    maxItems: 1_000,
  }),
});

/** What the hash of an entry covers, as `entryContent` makes it. */
const EntryContent = Type.Object(
  {
    id: idOf('journal_entry'),
    tenant: Type.Integer({ minimum: 0, maximum: 2_147_483_647 }),
    kind: Type.String({ maxLength: 100, examples: ['payment.succeeded'] }),
    result: Type.Enum(['success', 'refused']),
    actor: Type.String({ maxLength: 200, examples: ['client:test_client_id'] }),
    origin: nullable(Type.String({ maxLength: 64, examples: ['192.0.2.7'] })),
    request_id: nullable(Type.String({ maxLength: 64 })),
    object: nullable(
      Type.Object({
        type: Type.String({ maxLength: 40, examples: ['payment'] }),
        id: Type.String({ maxLength: 40, examples: ['pay_01h455vb4pex5vsknk084sn02q'] }),
        version: nullable(versionOutput()),
      }),
    ),
    snapshot: Type.Unknown({ description: 'The object after the change, or what was refused.' }),
    transfer: nullable(Transfer),
    timestamp: timeOutput(),
  },
  { description: 'The entry; its hash is the SHA-256 of this as canonical JSON (RFC 8785).' },
);

/** A proof as the API gives it and as `florin journal check` takes it: it stands for itself. */
export const ProofJson = Type.Object({
  object: Type.Literal('journal_proof'),
  entry: EntryContent,
  hash: hashOutput('Of the entry.'),
  position: countOutput('The place of the entry in the log, from 0.', '12'),
  head: HeadJson,
  steps: stepsOutput('Proves that the entry is in the log of the head (RFC 9162, 2.1.3).'),
  earlier: nullable(
    Type.Object(
      {
        head: HeadJson,
        steps: stepsOutput('Proves that the log began like this (RFC 9162, 2.1.4).'),
      },
      { description: 'An earlier head, if one was asked for.' },
    ),
  ),
  keys: keysOutput(),
});
export type ProofJson = Static<typeof ProofJson>;
