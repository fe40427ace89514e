import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { digestsEqual } from '../../lib/crypto.ts';
import { AppError } from '../../lib/errors.ts';
import type { Secret } from '../../lib/secret.ts';

/*
 * The construction of Standard Webhooks (standardwebhooks.com), in both directions: the HMAC-SHA-256 of
 * `id.timestamp.body` in base64. Any library for it signs and verifies what goes to and fro.
 */

/** How old a message may be, and how far clocks may be apart. */
const toleranceMs = 5 * 60_000;

/** The key of a secret: `whsec_` and base64 as the standard writes it, or the bytes of any other text. */
export const signingKey = (secret: Secret): KeyObject => {
  const text = secret.reveal();
  return createSecretKey(
    text.startsWith('whsec_')
      ? Buffer.from(text.slice('whsec_'.length), 'base64')
      : Buffer.from(text, 'utf8'),
  );
};

/** The header fields that prove a body to come from whoever has the key. */
export const signedHeaders = (
  key: KeyObject,
  { id, at, body }: { id: string; at: Date; body: string },
): Record<string, string> => {
  const timestamp = String(Math.floor(at.getTime() / 1000));
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatureOf(key, { id, timestamp, body }),
  };
};

/**
 * Proves a message by its signature, on the bytes that arrived.
 * @returns its id
 * @throws AppError `invalid_credentials` when no signature fits, or its time is too far from ours
 */
export const proveMessage = (
  key: KeyObject,
  { headers, body }: { headers: IncomingHttpHeaders; body: Buffer },
  now: Date,
): string => {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  );
  if (!id || !timestamp || !signatures || !idForm.test(id) || !/^\d{1,12}$/.test(timestamp)) {
    throw refused('webhook-id, webhook-timestamp and webhook-signature are needed.');
  }
  const expected = signatureOf(key, { id, timestamp, body });
  // Several while the backend changes its secret; more than a few are an attempt to make us busy.
  const given = signatures.split(' ', signaturesMax);
  if (!given.some((signature) => digestsEqual(signature, expected))) throw refused('No signature fits.');
  if (Math.abs(now.getTime() - Number(timestamp) * 1000) > toleranceMs)
    throw refused('The timestamp is more than five minutes from now.');
  return id;
};

const idForm = /^[\x21-\x7e]{1,255}$/;
const signaturesMax = 10;

const signatureOf = (
  key: KeyObject,
  { id, timestamp, body }: { id: string; timestamp: string; body: string | Buffer },
): string => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`;

const refused = (reason: string): AppError => new AppError('invalid_credentials', reason);
