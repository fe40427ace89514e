import { randomBytes } from 'node:crypto';

/** Every secret that Florin makes for development begins like this; all characters are base64's. */
const developmentMark = 'florindev/';

/** A new secret for development: base64 of `bytes` bytes, the first of which are the mark. */
export const newDevelopmentSecret = (bytes: number): string =>
  developmentMark + randomBytes(bytes).toString('base64').slice(developmentMark.length);

const shipped = new Set([
  'test_client_secret',
  'vendor_client_secret',
  'test-key',
  'eapi_service_key',
  'sapi_service_key',
]);

/** Whether this is a credential that Florin itself ships or makes for development (PCI DSS 2.2.2). */
export const isShipped = (value: string): boolean => shipped.has(value) || value.startsWith(developmentMark);

/** Sample secrets of guides and tools, which everybody knows. */
const examples = new Set([
  'your-32-character-jwt-secret-key',
  'your-32-character-session-secret',
  'your-32-character-encryption-key',
  'your-secure-database-password',
  'your-secure-redis-password',
  'a-string-secret-at-least-256-bits-long',
]);

/** Whether a secret is an example or a placeholder: nobody made it. */
export const isExample = (value: string): boolean =>
  examples.has(value) ||
  /^(your[-_]|<|change[-_ ]?me|replace[-_ ]?me)/i.test(value) ||
  (value.length >= 12 && new Set(value).size < 6);

const triedFirst = /^(test|admin|root|postgres|redis|password|secret|letmein|qwerty|florin)[\d!@#$_-]*$/i;

/** Whether a password is one that is guessed soon. */
export const isWeak = (value: string): boolean =>
  value.length < 12 || triedFirst.test(value) || isExample(value);
