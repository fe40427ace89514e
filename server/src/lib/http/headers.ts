/**
 * The header fields that every answer carries, also errors and answers to malformed HTTP. Values as guide 001 sets them,
 * plus a policy that lets a browser load nothing from an API answer. A page replaces the policy by its own.
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
  'x-xss-protection': '1; mode=block',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
};

const requestIdForm = /^[A-Za-z0-9._-]{1,64}$/;

/** The request id that a caller chose, if it is one that may be logged and answered as it stands. */
export const givenRequestId = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' && requestIdForm.test(header) ? header : undefined;
