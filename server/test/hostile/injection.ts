import { words } from '../setup/spoilt.ts';

/** Every request header field that this house, Fastify, a proxy or Node reads, and some that others would. */
export const headerNames = words(
  'accept accept-encoding accept-language authorization connection content-encoding content-language content-type ' +
    'cookie date dry-run expect florin-caller florin-service-token florin-vendor forwarded from host idempotency-key ' +
    'if-match if-modified-since if-none-match keep-alive origin pragma prefer range referer te trailer traceparent ' +
    'tracestate upgrade user-agent via x-api-key x-client-id x-client-secret x-correlation-id x-forwarded-for ' +
    'x-forwarded-host x-forwarded-proto x-http-method-override x-original-url x-real-ip x-request-id ' +
    'access-control-request-method access-control-request-headers sec-fetch-site',
);

/** What no log line may hold, as callers send it by mistake or on purpose. */
export const planted = {
  token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl',
  apiKey: 'fk_live_0123456789abcdefghijklmn',
  bearer: 'Bearer hunter2hunter2hunter2',
  password: 'password=hunter2hunter2hunter2',
  url: 'https://user:hunter2hunter2hunter2@example.com/',
  json: '{"client_secret":"hunter2hunter2hunter2"}',
  card: '4242 4242 4242 4242',
  plainCard: '5555555555554444',
};

/** What in a line would tell that one of them was written. */
export const traces = ['hunter2', 'eyJhbGci', '0123456789abcdefghijklmn', '4242 4242', '55555555555'];

/** Texts that would end a line, begin another, or steer a terminal, were they written as they are. */
export const breakouts: readonly string[] = [
  '\r\n{"level":"fatal","message":"forged"}',
  '\n2026-11-22 08:00:00 [api] FATAL forged',
  '"},{"level":"fatal","message":"forged"}',
  '","level":"fatal","x":"',
  '\u001b[2J\u001b[31mforged\u0007',
  '\u009b31m',
  '\u2028\u2029\u0085',
  '\\r\\n\\u000a',
  '%0d%0a{"level":"fatal"}',
  '\ud800 half',
  '%s %d %j %o %O {} ${7*7}',
  '__proto__',
  'A'.repeat(9_000),
];
