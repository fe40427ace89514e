import { Type, type Static } from 'typebox';
import { clientIdPattern, slugPattern } from '../vendors/schema.ts';
import { idOf } from '../lib/http/schemas.ts';
import type { ApiKeyRecord, ClientRecord, Revocations, VendorRecord } from '../vendors/credentials.ts';

/**
 * Everything the edge asks the core: it has no database itself. Answers are cached by who asks
 * (`authenticate.ts`), not here. What cannot be answered now throws `unavailable`.
 */
export type Directory = {
  /** @param digest SHA-256 of the key, 64 hex digits */
  resolveApiKey(digest: string): Promise<ApiKeyRecord | undefined>;
  findClient(clientId: string): Promise<ClientRecord | undefined>;
  findVendor(idOrSlug: string): Promise<VendorRecord | undefined>;
  /** What was revoked after `last`; with undefined, where an edge that knows nothing yet begins. */
  revocationsSince(last: string | undefined): Promise<Revocations>;
  recordUsage(usage: UsageReport): Promise<void>;
  recordSecurityEvent(event: SecurityEvent): Promise<void>;
  /** Resolves when the core can answer. */
  health(): Promise<void>;
};

const Time = Type.String({ format: 'date-time', maxLength: 32 });

/** One report holds so many credentials at most, of each kind. */
export const usageMax = 1_000;

/** When credentials were last used. */
export const UsageReport = Type.Object({
  clients: Type.Array(Type.Object({ clientId: Type.String({ pattern: clientIdPattern }), at: Time }), {
    maxItems: usageMax,
  }),
  apiKeys: Type.Array(Type.Object({ id: idOf('api_key'), at: Time }), { maxItems: usageMax }),
});
export type UsageReport = Static<typeof UsageReport>;

/** A failed authentication or a denied access, for the audit log. Holds nothing that a stranger could write freely. */
export const SecurityEvent = Type.Object({
  kind: Type.Enum(['authentication.failed', 'access.denied']),
  /** The caller as far as it is known: of a failed authentication, the client whose secret was wrong. */
  actor: Type.String({ maxLength: 128 }),
  tenantId: Type.Integer({ minimum: 0 }),
  origin: Type.Optional(Type.String({ maxLength: 64 })),
  requestId: Type.Optional(Type.String({ maxLength: 64 })),
  at: Time,
  /** The code of the refusal. */
  reason: Type.String({ maxLength: 64 }),
  method: Type.String({ maxLength: 16 }),
  /** The route template; `unmatched` when there is none. */
  route: Type.String({ maxLength: 200 }),
});
export type SecurityEvent = Static<typeof SecurityEvent>;

/** How a vendor may be named: by its id or its slug. What is neither names nobody. */
export const namesVendor = (text: string): boolean =>
  text.length <= 64 && (new RegExp(slugPattern).test(text) || /^ven_[0-9a-z]{26}$/.test(text));
