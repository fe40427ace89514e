import { AppError, invalidField } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';

/**
 * Where secrets are kept. One shape for every kind of store:
 *
 * | source | path becomes | a version is |
 * |---|---|---|
 * | encrypted file | the path | a number that only rises |
 * | environment, mounted files | a variable, a file | one: the value now |
 * | Conjur | the variable id | its version number |
 * | AWS Secrets Manager | the secret's name | a VersionId; the current one bears `AWSCURRENT` |
 * | AWS SSM | `/` and the path | its version number |
 *
 * A version is an opaque text: compare it, store it, read it again; never count with it. There is no cache
 * inside: who reads often keeps what it read, for as long as it can bear to miss a change.
 */
export type SecretSource = {
  /** For logs and messages: `file`, `environment`. */
  readonly name: string;
  /** Whether `write` and `remove` are possible at all. */
  readonly writable: boolean;
  /** The current value, or that of one version as long as the source still has it. */
  read(path: string, version?: string): Promise<SecretVersion | undefined>;
  /** The versions that can still be read, newest first; the first is the current one. */
  versions(path: string): Promise<VersionInfo[]>;
  /** Makes a new version, which is the current one from now on, and gives its name. */
  write(path: string, value: Secret): Promise<string>;
  /** Paths equal to or below a prefix such as `payment-system/vendors`, sorted; `''` lists all. */
  list(prefix: string, page?: ListPage): Promise<string[]>;
  /** Removes a secret with all its versions; one that does not exist is no fault. */
  remove(path: string): Promise<void>;
};

export type VersionInfo = { version: string; createdAt: Date | undefined };
export type SecretVersion = VersionInfo & { value: Secret };

/** At most `limit` paths (1,000 unless told), those after the path `after`. */
export type ListPage = { limit?: number; after?: string };

/** No secret is longer, in bytes of UTF-8; the bound of AWS Secrets Manager. */
export const secretBytesMax = 65_536;

/**
 * Checks a path as the guides write it: `payment-system/vendors/xyz-vendor/client-secret`.
 * @throws AppError `invalid_request`
 */
export const checkPath = (path: string): void => {
  if (path.length > 512 || !pathPattern.test(path)) {
    throw invalidField(
      'path',
      'has to be words of letters, digits, ".", "_" and "-", joined by "/", 512 characters at most',
    );
  }
};

/** @throws AppError `invalid_request` for an empty or oversized value */
export const checkValue = (value: Secret): void => {
  const bytes = Buffer.byteLength(value.reveal());
  if (bytes === 0 || bytes > secretBytesMax) {
    throw invalidField('value', `has to have 1 to ${secretBytesMax} bytes`);
  }
};

/** What a source that can't be written answers to `write` and `remove`. */
export const readOnly = (remedy: string): AppError =>
  new AppError('invalid_state', `These secrets can only be read. ${remedy}`);

/** The page of all known paths that `list` gives. */
export const pageOf = (
  paths: Iterable<string>,
  prefix: string,
  { limit = 1_000, after = '' }: ListPage = {},
): string[] => {
  if (prefix !== '') checkPath(prefix);
  return [...paths]
    .filter((path) => prefix === '' || path === prefix || path.startsWith(`${prefix}/`))
    .filter((path) => path > after)
    .sort()
    .slice(0, limit);
};

/**
 * A word may not begin with a dot: `..` would leave a folder, and mounted volumes hide their own files that
 * way.
 */
const pathPattern = /^[a-z0-9_-][a-z0-9._-]*(\/[a-z0-9_-][a-z0-9._-]*)*$/i;
