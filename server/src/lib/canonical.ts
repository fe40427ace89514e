import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** Plain JSON data. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json | undefined };

/** The one byte sequence of a JSON value (RFC 8785): equal values give equal texts, whatever the order of members. */
export const canonicalJson = (value: Json): string => {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('not a JSON value');
  return text;
};

/** SHA-256 of the canonical JSON of a value. */
export const canonicalHash = (value: Json): Buffer =>
  createHash('sha256').update(canonicalJson(value)).digest();
