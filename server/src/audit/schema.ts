import { Type, type Static } from 'typebox';
import { listQuery } from '../lib/http/page.ts';
import { freeText, idOf, timeInput, timeOutput, versionOutput } from '../lib/http/schemas.ts';

const nullable = <Schema extends Type.TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const Result = Type.Enum(['success', 'refused']);

export const ListAuditQuery = listQuery({
  scope: Type.Optional(
    Type.Enum(['vendor', 'platform'], {
      description:
        '`platform`, for platform callers alone: vendors, platform keys, and callers nobody knows.',
    }),
  ),
  action: Type.Optional(
    freeText(100, { description: 'Exactly this kind of entry.', examples: ['payment.refunded'] }),
  ),
  actor: Type.Optional(freeText(200, { description: 'Whose doing.', examples: ['client:test_client_id'] })),
  result: Type.Optional(Result),
  object: Type.Optional(freeText(40, { description: 'What happened to this object.' })),
  from: Type.Optional(timeInput({ description: 'At this time or later.' })),
  before: Type.Optional(timeInput({ description: 'Before this time.' })),
});
export type AuditFilter = Omit<Static<typeof ListAuditQuery>, 'limit' | 'cursor' | 'scope'>;

/** One line of the audit log: who did what to which object, when, from where, with which result (PCI DSS 10.2.2). */
export const AuditLine = Type.Object({
  id: idOf('journal_entry'),
  timestamp: timeOutput(),
  actor: Type.String({ maxLength: 200, examples: ['client:test_client_id'] }),
  action: Type.String({ maxLength: 100, examples: ['payment.succeeded'] }),
  result: Result,
  origin: nullable(
    Type.String({ maxLength: 64, description: 'Address of the caller.', examples: ['192.0.2.7'] }),
  ),
  request_id: nullable(Type.String({ maxLength: 64 })),
  object: nullable(Type.String({ maxLength: 40, examples: ['pay_01h455vb4pex5vsknk084sn02q'] })),
  object_version: nullable(versionOutput()),
  details: Type.Unknown({
    description: 'The object after the change, or what was refused; never personal data.',
  }),
});
export type AuditLine = Static<typeof AuditLine>;
