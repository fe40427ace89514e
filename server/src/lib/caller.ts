/** What a caller may do; each role includes the ones before it. */
export const roles = ['viewer', 'developer', 'finance', 'admin'] as const;
export type Role = (typeof roles)[number];

/** `test` and `live` never meet: every credential belongs to one of them. */
export type Mode = 'test' | 'live';

/** Whether a role includes another, e.g. `allows('finance', 'viewer')`. */
export const allows = (role: Role, required: Role): boolean => roles.indexOf(role) >= roles.indexOf(required);

/** The tenant of things that belong to the platform itself: vendors, platform keys, unknown callers. */
export const platformTenantId = 0;

/** Who sent a request, proven. Made by `access`, carried by every request, written into every journal entry. */
export type Caller = {
  /** A vendor's own credential, or one of the platform (which acts for the vendor it named). */
  kind: 'vendor' | 'platform';
  /** Whose credential: `client:test_client_id`, `api_key:key_01…`. */
  actor: string;
  role: Role;
  /** The tenant `(vendor, mode)` that the request acts on; `platformTenantId` when a platform key names no vendor. */
  tenantId: number;
  /** Public id of the vendor, `ven_…`; absent for the platform itself. */
  vendorId: string | undefined;
  mode: Mode;
};

/** The circumstances of one change: who, from where, in which request, when. */
export type Context = {
  tenantId: number;
  actor: string;
  /** The caller's address, for vendor and platform callers. */
  origin: string | undefined;
  requestId: string | undefined;
  now: Date;
};
