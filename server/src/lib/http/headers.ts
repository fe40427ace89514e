import { holdsCardNumber } from '../cards.ts';

/**
 * The header fields that every answer carries, also errors and answers to malformed HTTP. Values as guide 001 sets them,
 * plus a policy that lets a browser load nothing from an API answer. A page replaces the policy by its own. Names are
 * written as people grep for them (guide 003 does); HTTP does not mind (RFC 9110, section 5.1).
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'SAMEORIGIN',
  'X-XSS-Protection': '1; mode=block',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cache-Control': 'no-store',
};

const requestIdForm = /^[A-Za-z0-9._-]{1,64}$/;

/** The request id that a caller chose, if it is one that may be logged, kept and answered as it stands (PCI DSS 3.3). */
export const givenRequestId = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' && requestIdForm.test(header) && !holdsCardNumber(header) ? header : undefined;
