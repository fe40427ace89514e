import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { Secret } from '../lib/secret.ts';
import { newSigningSecret, signedHeaders } from './signature.ts';

/** The test vector that Standard Webhooks and its libraries publish. */
const published = {
  secret: new Secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  at: new Date(1_614_265_330_000),
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

const body = JSON.stringify({ id: 'evt_1', type: 'payment.succeeded', data: { reference: 'Zoë – 100 €' } });
const sign = (secrets: readonly Secret[], changes: Partial<Parameters<typeof signedHeaders>[1]> = {}) =>
  signedHeaders(secrets, { id: 'evt_1', at: new Date(), body, ...changes });
const accepts = (secret: Secret, given: string, headers: Record<string, string>): boolean => {
  try {
    return new Webhook(secret.reveal()).verify(given, headers) !== undefined;
  } catch {
    return false;
  }
};

describe('Standard Webhooks', () => {
  test('the published test vector is byte-equal', () => {
    const { secret, id, at } = published;
    for (const given of [published.body, Buffer.from(published.body)]) {
      expect(sign([secret], { id, at, body: given })).toMatchObject({
        'webhook-id': id,
        'webhook-timestamp': '1614265330',
        'webhook-signature': published.signature,
      });
    }
  });

  test('secrets are `whsec_` and the base64 of 24 to 64 bytes, a new one each time', () => {
    const secrets = Array.from({ length: 100 }, () => newSigningSecret().reveal());
    for (const secret of secrets) {
      expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]+=*$/);
      const { length } = Buffer.from(secret.slice(6), 'base64');
      expect(length).toBeGreaterThanOrEqual(24);
      expect(length).toBeLessThanOrEqual(64);
    }
    expect(new Set(secrets).size).toBe(100);
  });

  test('the package `standardwebhooks` accepts what is signed, and nothing that was changed', () => {
    const secret = newSigningSecret();
    const headers = sign([secret]);
    expect(accepts(secret, body, headers)).toBe(true);
    expect(accepts(secret, body, sign([secret], { body: Buffer.from(body) }))).toBe(true);
    expect(accepts(newSigningSecret(), body, headers)).toBe(false);
    expect(accepts(secret, `${body} `, headers)).toBe(false);
    expect(accepts(secret, body, { ...headers, 'webhook-id': 'evt_2' })).toBe(false);
    const later = String(Number(headers['webhook-timestamp']) + 1);
    expect(accepts(secret, body, { ...headers, 'webhook-timestamp': later })).toBe(false);
  });

  test('a message of six minutes ago is refused; the same one sent again has the same id and is accepted', () => {
    const secret = newSigningSecret();
    const old = sign([secret], { at: new Date(Date.now() - 360_000) });
    const again = sign([secret]);
    expect(accepts(secret, body, old)).toBe(false);
    expect(accepts(secret, body, again)).toBe(true);
    expect(again['webhook-id']).toBe(old['webhook-id']);
  });

  test('two signatures while a secret rotates: who has either accepts', () => {
    const [newest, before] = [newSigningSecret(), newSigningSecret()];
    const headers = sign([newest, before]);
    expect(headers['webhook-signature']).toMatch(/^v1,\S{44} v1,\S{44}$/);
    expect([newest, before].map((secret) => accepts(secret, body, headers))).toEqual([true, true]);
    expect(accepts(newSigningSecret(), body, headers)).toBe(false);
  });

  test('nothing is sent unsigned', () => {
    expect(() => sign([])).toThrow('nothing to sign evt_1 with');
  });
});

/** As guide 001 has it, word by word. */
const verifyWebhookSignature = (
  payload: unknown,
  signature: string,
  secret: string,
  timestamp: string,
): boolean => {
  // Check timestamp (5 minute tolerance)
  const now = Date.now();
  if (Math.abs(now - parseInt(timestamp)) > 5 * 60 * 1000) {
    return false;
  }

  // Verify HMAC
  const message = `${timestamp}.${JSON.stringify(payload)}`;
  const expected = createHmac('sha256', secret).update(message).digest('hex');

  return timingSafeEqual(Buffer.from(signature), Buffer.from(expected));
};

/** The same, over the bytes that arrived. */
const verifyRawBody = (raw: string, signature: string, secret: string, timestamp: string): boolean => {
  if (Math.abs(Date.now() - parseInt(timestamp)) > 5 * 60 * 1000) return false;
  const expected = createHmac('sha256', secret).update(`${timestamp}.${raw}`).digest('hex');
  return timingSafeEqual(Buffer.from(signature), Buffer.from(expected));
};

describe('the header of guide 001', () => {
  const fieldsOf = (headers: Record<string, string>) =>
    [headers['X-Webhook-Signature'] ?? '', headers['X-Webhook-Timestamp'] ?? ''] as const;

  test('its own verification accepts it, and nothing that was changed or is old', () => {
    const secret = newSigningSecret();
    const [signature, timestamp] = fieldsOf(sign([secret]));
    const verify = (raw: string, at = timestamp) => [
      verifyWebhookSignature(JSON.parse(raw), signature, secret.reveal(), at),
      verifyRawBody(raw, signature, secret.reveal(), at),
    ];
    expect(verify(body)).toEqual([true, true]);
    expect(verify(body.replace('100', '900'))).toEqual([false, false]);
    expect(verify(body, String(Number(timestamp) + 1))).toEqual([false, false]);
    expect(verifyRawBody(body, signature, newSigningSecret().reveal(), timestamp)).toBe(false);
    const [oldSignature, old] = fieldsOf(sign([secret], { at: new Date(Date.now() - 301_000) }));
    expect(verifyRawBody(body, oldSignature, secret.reveal(), old)).toBe(false);
  });

  test('on the raw body it accepts also what JSON would write otherwise', () => {
    const secret = newSigningSecret();
    const raw = '{ "amount": 1.0, "text": "\\u00e9" }';
    const [signature, timestamp] = fieldsOf(sign([secret], { body: raw }));
    expect(verifyRawBody(raw, signature, secret.reveal(), timestamp)).toBe(true);
    expect(verifyWebhookSignature(JSON.parse(raw), signature, secret.reveal(), timestamp)).toBe(false);
  });

  test('its timestamp is in milliseconds, its signature in hex', () => {
    const at = new Date(1_795_334_400_123);
    const headers = sign([newSigningSecret()], { at });
    expect(headers).toMatchObject({
      'webhook-timestamp': '1795334400',
      'X-Webhook-Timestamp': '1795334400123',
      'X-Webhook-Signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  test('while a secret rotates it is made with the one before, which the receiver has for certain', () => {
    const [newest, before] = [newSigningSecret(), newSigningSecret()];
    const [signature, timestamp] = fieldsOf(sign([newest, before]));
    expect(verifyRawBody(body, signature, before.reveal(), timestamp)).toBe(true);
    expect(verifyRawBody(body, signature, newest.reveal(), timestamp)).toBe(false);
  });

  test('any text is signed byte by byte', () => {
    const secret = newSigningSecret();
    for (let length = 0; length < 200; length += 7) {
      const raw = randomBytes(length);
      const [signature, timestamp] = fieldsOf(sign([secret], { body: raw }));
      const expected = createHmac('sha256', secret.reveal())
        .update(Buffer.concat([Buffer.from(`${timestamp}.`), raw]))
        .digest('hex');
      expect(signature).toBe(expected);
    }
  });
});
