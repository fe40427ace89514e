import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hasCardNumber, redactLine, redactText } from './redact.ts';

const cards = [
  '4111111111111111',
  '4111 1111 1111 1111',
  '4111-1111-1111-1111',
  '5555555555554444',
  '378282246310005',
  '3782 822463 10005',
  '30569309025904',
  '6011111111111117',
  '4222222222222',
  '6304000000000000000',
];

describe('card numbers', () => {
  test.each(cards)('%s is found wherever it stands', (card) => {
    for (const text of [
      card,
      `card ${card}.`,
      `card:${card},exp`,
      `(${card})`,
      `${card} 12/29 123`,
      `7 ${card}`,
      `PAN${card}x`,
    ]) {
      expect([text, hasCardNumber(text)]).toEqual([text, true]);
      expect(redactText(text)).toBe(text.replace(card, '[REDACTED]'));
    }
  });

  test('several in one text are all found', () => {
    expect(redactText(cards.join(' ')).replaceAll(/\[REDACTED\] ?/g, '')).toBe('');
  });

  test.each([
    '4111111111111112',
    '411111111111',
    '0000000000000000',
    '1763797000000',
    '1763797000000000000',
    '2026-11-22 07:50:12',
    '1.4111111111111111',
    '01890a5d-ac96-774b-bcce-b302099a8057',
    'a4111111111111111b4111111111111c0',
    'pay_01h455vb4pex5vsknk084sn02q',
    '41111111111111110000',
  ])('%s is none', (text) => {
    expect(redactText(text)).toBe(text);
  });
});

const apiKey = `fk_test_${'0123456789abcdef'.repeat(3)}`;
const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjbGllbnQifQ.c2lnbmF0dXJlLWJ5dGVz';

describe('secrets in text', () => {
  test.each([
    [`key ${apiKey}!`, 'key [REDACTED]!'],
    ['key fk_test_3f9a2c', 'key fk_test_3f9a2c'],
    [`token ${jwt}, next`, 'token [REDACTED], next'],
    ['secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'secret [REDACTED]'],
    ['Authorization: Bearer abc.def-ghi', 'Authorization: Bearer [REDACTED]'],
    ['basic dXNlcjpwYXNz', 'basic [REDACTED]'],
    ['postgresql://user:hunter2@db:5432/x', 'postgresql://user:[REDACTED]@db:5432/x'],
    ['GET /x?token=abc&next=1', 'GET /x?token=[REDACTED]&next=1'],
    ['{"client_secret":"abc","a":1}', '{"client_secret":"[REDACTED]","a":1}'],
    ['http://localhost:3000/a@b', 'http://localhost:3000/a@b'],
    ['the token expired', 'the token expired'],
  ])('%s', (text, cleaned) => {
    expect(redactText(text)).toBe(cleaned);
  });
});

describe('lines', () => {
  const clean = (value: unknown): unknown => JSON.parse(redactLine(`${JSON.stringify(value)}\n`));

  test('values of keys that name a secret go, at any depth and of any type', () => {
    const names = [
      'authorization',
      'Authorization',
      'proxy-authorization',
      'x-api-key',
      'X-API-Key',
      'apiKey',
      'x-client-secret',
      'clientSecret',
      'client_secret',
      'password',
      'db_password',
      'passphrase',
      'secret',
      'jwt_secret',
      'token',
      'access_token',
      'refreshToken',
      'cookie',
      'set-cookie',
      'master_key',
      'privateKey',
      'secretAccessKey',
      'card_number',
      'pan',
      'cvc',
      'pin',
      'otp',
    ];
    for (const name of names) {
      for (const value of ['plain', 1234, ['a', 'b'], { inner: 'x' }]) {
        expect(clean({ a: [{ b: { [name]: value } }] })).toEqual({
          a: [{ b: { [name]: '[REDACTED]' } }],
        });
      }
    }
  });

  test('what only sounds like a secret stays', () => {
    const line = {
      token_type: 'Bearer-less',
      idempotency_key: 'abc',
      key: 'k',
      span: '1',
      client_id: 'test_client_id',
      has_password: true,
      password: null,
      secret_version: 3,
      request_id: 'req_01h455vb4pex5vsknk084sn02q',
      trace_id: '4111111111111111aaaaaaaaaaaaaaaa',
      duration_ms: 1.411111111111111,
      at: 1_763_797_000_000,
    };
    expect(clean(line)).toEqual(line);
  });

  test('card numbers in names, in numbers and in numbers too large for JavaScript go; such numbers stay exact', () => {
    expect(redactLine('{"a":4111111111111111,"b":6304000000000000000,"4111111111111111":1}')).toBe(
      '{"a":"[REDACTED]","b":"[REDACTED]","[REDACTED]":1}\n',
    );
    expect(redactLine('{"big":9223372036854775807123,"token":"x"}')).toBe(
      '{"big":9223372036854775807123,"token":"[REDACTED]"}\n',
    );
  });

  test('a line without anything suspicious is not touched', () => {
    const line =
      '{"level":"info","time":"2026-11-22T07:50:12.123Z","service":"api","route":"/api/v1/payments","status":201}\n';
    expect(redactLine(line)).toBe(line);
  });

  test('a line that is no JSON is cleaned as text', () => {
    expect(redactLine('broken {"card":"4111 1111 1111 1111"')).toBe('broken {"card":"[REDACTED]"');
  });

  test('any JSON stays JSON, and no planted card number survives (seeded)', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom(...cards),
        fc.string({ maxLength: 5 }),
        (value, card, around) => {
          const text = redactLine(
            JSON.stringify({ value, planted: [`${around} ${card} ${around}`], [`k ${card}`]: value }),
          );
          JSON.parse(text);
          expect(text).not.toContain(card);
        },
      ),
      { seed: 20261122, numRuns: 300 },
    );
  });

  test('a long line is cleaned in time that grows with its length only', () => {
    const pieces = [
      '1 ',
      '4111-',
      'eyJ-',
      '://x:',
      'bearer ',
      'token\\',
      'whsec_',
      'eyJaaaaaaaa.',
      'password:"',
      'f1',
    ];
    for (const piece of pieces) {
      const started = performance.now();
      redactLine(JSON.stringify({ piece: piece.repeat(100_000 / piece.length), token: 'x' }));
      expect(performance.now() - started).toBeLessThan(1000);
    }
  });
});
