import { Type, type Static } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import { freeText, idOf, metadata, timeOutput, versionOutput } from '../lib/http/schemas.ts';

/** An email address as callers write it; what counts as the same address is decided by `emailIndexes`. */
export const Email = Type.String({
  format: 'email',
  maxLength: 254,
  'x-expected': 'an email address such as ada@example.com',
  description: 'One address is one customer, whatever its upper and lower case.',
  examples: ['ada@example.com'],
});

export const PersonName = freeText(200, {
  minLength: 1,
  pattern: '\\S',
  'x-expected': 'a name',
  examples: ['Ada Lovelace'],
});

const Phone = Type.String({
  maxLength: 32,
  pattern: '^[+(]?[0-9][0-9 ()./-]{2,30}$',
  'x-expected': 'a phone number such as +49 30 901820',
  examples: ['+49 30 901820'],
});

const Metadata = metadata({
  description:
    'Your own keys and values: up to 50 keys of 40 characters, values of 500. No place for personal data, ' +
    'because it outlives an erasure; card numbers are refused.',
});

const nullable = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

export const CreateCustomerBody = Type.Object(
  {
    email: Email,
    name: PersonName,
    phone: Type.Optional(Phone),
    metadata: Type.Optional(Metadata),
  },
  { additionalProperties: false },
);
export type CreateCustomerBody = Static<typeof CreateCustomerBody>;

export const UpdateCustomerBody = Type.Object(
  {
    email: Type.Optional(Email),
    name: Type.Optional(PersonName),
    phone: Type.Optional(nullable(Phone, '`null` removes it.')),
    metadata: Type.Optional(
      Type.Unsafe<Record<string, string>>({ ...Metadata, description: 'Replaces all metadata.' }),
    ),
  },
  { additionalProperties: false, minProperties: 1, description: 'What is left out stays as it is.' },
);
export type UpdateCustomerBody = Static<typeof UpdateCustomerBody>;

export const ListCustomersQuery = listQuery({
  email: Type.Optional(
    Type.String({
      ...Email,
      description: 'Only the customer with this address. Addresses in a URL end up in logs of proxies.',
    }),
  ),
});

/** A customer without personal data: the snapshot of the journal entries. */
export const CustomerSnapshot = Type.Object({
  id: idOf('customer'),
  object: Type.Literal('customer'),
  metadata: Metadata,
  version: versionOutput(),
  created_at: timeOutput(),
  updated_at: timeOutput(),
  erased_at: nullable(timeOutput(), 'When the personal data was erased for good.'),
});
export type CustomerSnapshot = Static<typeof CustomerSnapshot>;

export const CustomerAnswer = Type.Object(
  {
    ...CustomerSnapshot.properties,
    email: nullable(
      Type.String({ maxLength: 254, examples: ['ada@example.com'] }),
      'As it was sent; null once erased.',
    ),
    name: nullable(Type.String({ maxLength: 200, examples: ['Ada Lovelace'] }), 'null if unknown or erased.'),
    phone: nullable(
      Type.String({ maxLength: 32, examples: ['+49 30 901820'] }),
      'null if unknown or erased.',
    ),
  },
  { description: 'Someone who pays a vendor.' },
);
export type CustomerAnswer = Static<typeof CustomerAnswer>;
