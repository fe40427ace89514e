import { describe, expect, test } from 'vitest';
import {
  flag,
  integer,
  key,
  level,
  moduleLevels,
  origins,
  port,
  proxies,
  ratio,
  secret,
  text,
  url,
} from './kinds.ts';
import type { Kind } from './kinds.ts';

const cases: [string, Kind<unknown>, [raw: unknown, value: unknown][]][] = [
  [
    'text',
    text,
    [
      [' a ', 'a'],
      [1.3, '1.3'],
      ['  ', undefined],
      [true, undefined],
      [{}, undefined],
    ],
  ],
  [
    'integer',
    integer({ min: 1, max: 9 }),
    [
      ['5', 5],
      [' 5 ', 5],
      [5, 5],
      ['0', undefined],
      ['10', undefined],
      ['1e0', undefined],
      ['-5', undefined],
      ['5.0', undefined],
      ['', undefined],
    ],
  ],
  [
    'ratio',
    ratio,
    [
      ['0', 0],
      ['0.05', 0.05],
      [0.25, 0.25],
      ['1', 1],
      ['1.0', 1],
      ['1.01', undefined],
      ['2', undefined],
      ['-0.1', undefined],
      ['1e-1', undefined],
      ['.5', undefined],
    ],
  ],
  [
    'port',
    port,
    [
      ['0', 0],
      ['65535', 65_535],
      ['65536', undefined],
    ],
  ],
  [
    'flag',
    flag,
    [
      ['TRUE', true],
      ['1', true],
      ['on', true],
      ['no', false],
      [false, false],
      [0, false],
      ['2', undefined],
    ],
  ],
  [
    'level',
    level,
    [
      ['INFO', 'info'],
      ['WARNING', 'warn'],
      ['off', 'silent'],
      ['loud', undefined],
    ],
  ],
  [
    'moduleLevels',
    moduleLevels,
    [
      ['payments=debug, ledger=WARN', { payments: 'debug', ledger: 'warn' }],
      ['com.payment=INFO,org.springframework=WARN', { '*': 'info', http: 'warn' }],
      [{ 'com.payment.ledger': 'ERROR' }, { ledger: 'error' }],
      ['payments', undefined],
      ['=info', undefined],
      ['payments=loud', undefined],
    ],
  ],
  [
    'url',
    url,
    [
      ['https://a.example/', 'https://a.example'],
      ['https://a.example/x/', 'https://a.example/x'],
      ['https://u:p@a', undefined],
      ['a.example', undefined],
    ],
  ],
  [
    'origins',
    origins,
    [
      ['https://A.example:443, http://b:81/', ['https://a.example', 'http://b:81']],
      ['*', ['*']],
      ['https://*.example.com', ['https://*.example.com']],
      [['https://a.example'], ['https://a.example']],
      ['https://a.example/path', undefined],
      [7, undefined],
    ],
  ],
  [
    'proxies',
    proxies,
    [
      ['true', true],
      ['10.0.0.0/8,::1', ['10.0.0.0/8', '::1']],
      ['10.0.0.0/a', undefined],
      ['proxy', undefined],
    ],
  ],
];

describe.each(cases)('%s', (_name, kind, values) => {
  test.each(values)('%j is read as %j', (raw, value) => {
    expect(kind.parse(raw)).toEqual(value);
  });
});

test('a secret keeps its text as it is', () => {
  expect(secret.parse(' a b ')?.reveal()).toBe(' a b ');
  expect(secret.parse('   ')).toBeUndefined();
});

test('a key is 32 bytes in base64, hexadecimal or plain characters', () => {
  const bytes = Buffer.from('0123456789abcdefghijklmnopqrstuv');
  const base64 = bytes.toString('base64');
  for (const form of [base64, base64.replace('=', ''), bytes.toString('hex'), bytes.toString()]) {
    expect(key.parse(form)?.reveal()).toBe(base64);
  }
  for (const form of ['', 'short', `${base64}AAAA`, '!'.repeat(44)]) expect(key.parse(form)).toBeUndefined();
});
