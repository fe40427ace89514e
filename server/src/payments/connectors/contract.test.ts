import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Compile } from 'typebox/schema';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { openBook, type Request } from '../../../../examples/backend/book.ts';
import { manualClock } from '../../lib/clock.ts';
import { rootDirectory } from '../../lib/config/config.ts';
import { Secret } from '../../lib/secret.ts';
import { callbackResults } from '../callbacks.ts';
import { failureCodes } from '../schema.ts';
import type { Connector, ConnectorCall } from './connector.ts';
import { openHttp } from './http.ts';
import { backendSecret } from './testing.ts';

/** docs/api/backend.yml is what backends are built by: what is sent and what is answered has to be of it. */
type Node = { [name: string]: Node } & { $ref?: string };
const document = parse(readFileSync(join(rootDirectory, 'docs', 'api', 'backend.yml'), 'utf8')) as Node;

/** A part of the document with its references followed. */
const resolved = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(resolved);
  if (node === null || typeof node !== 'object') return node;
  if ('$ref' in node) return resolved(at(String(node.$ref).slice('#/'.length).split('/')));
  return Object.fromEntries(Object.entries(node).map(([name, member]) => [name, resolved(member)]));
};
const at = (path: readonly string[]): unknown =>
  path.reduce<unknown>((node, name) => (node as Node)[name], document);
const schemaAt = (...path: string[]) => Compile(resolved(at(path)) as object);
const json = ['content', 'application/json', 'schema'] as const;

const kinds = ['authorise', 'capture', 'cancel', 'refund', 'status'] as const;
const requestSchema = (kind: string) => schemaAt('paths', `/${kind}`, 'post', 'requestBody', ...json);
const answerSchema = (kind: string) => schemaAt('paths', `/${kind}`, 'post', 'responses', '200', ...json);

const book = openBook();
const sent: { path: string; body: Request; headers: Record<string, unknown> }[] = [];
const answers: unknown[] = [];
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Request;
    sent.push({ path: request.url ?? '', body, headers: request.headers });
    const answer = body.kind === 'status' ? book.find(body.operation_id) : book.perform(body);
    answers.push(answer);
    response.end(JSON.stringify(answer));
  });
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo; // it listens on TCP
const clock = manualClock('2026-11-22T08:00:00Z');
const connector: Connector = openHttp({
  url: `http://127.0.0.1:${port}`,
  secret: new Secret(backendSecret),
  timeoutMs: 1_000,
  clock,
});
afterAll(async () => {
  await connector.close?.();
  server.close();
});

let made = 0;
const call = (): ConnectorCall => ({
  operationId: `op_01h455vb4pex5vsknk084sn0${(made += 1).toString().padStart(2, '0')}`,
  paymentId: 'pay_01h455vb4pex5vsknk084sn02q',
  mode: 'test',
  paymentMethod: 'http',
  amountMinor: 10_000n,
  currency: 'USD',
  authorisation: undefined,
  signal: AbortSignal.timeout(1_000),
});

describe('docs/api/backend.yml', () => {
  test('has what the connector sends, and what the example backend answers', async () => {
    await connector.status({ ...call(), kind: 'authorise' });
    await connector.authorise({ ...call(), capture: false });
    await connector.capture({ ...call(), authorisation: 'ch_1' });
    await connector.cancel(call());
    await connector.refund(call());
    await connector.authorise({ ...call(), capture: true, paymentMethod: 'http:decline_do_not_honor' });
    expect(new Set(sent.map(({ path }) => path.slice(1)))).toEqual(new Set(kinds));
    for (const [index, { path, body, headers }] of sent.entries()) {
      expect(requestSchema(body.kind).Check(body), JSON.stringify(body)).toBe(true);
      expect(path).toBe(`/${body.kind}`);
      expect(headers['idempotency-key']).toBe(body.operation_id);
      expect(answerSchema(body.kind).Check(answers[index]), JSON.stringify(answers[index])).toBe(true);
    }
    // An operation is absent only where it is asked about.
    expect(answerSchema('capture').Check(answers[0])).toBe(false);
  });

  test('its examples are of its own schemas', () => {
    for (const kind of kinds) {
      const body = at(['paths', `/${kind}`, 'post', 'requestBody', 'content', 'application/json', 'example']);
      expect(requestSchema(kind).Check(body), kind).toBe(true);
    }
    const examples = at([
      'paths',
      '/authorise',
      'post',
      'responses',
      '200',
      'content',
      'application/json',
      'examples',
    ]);
    for (const { value } of Object.values(examples as Record<string, { value: unknown }>))
      expect(answerSchema('authorise').Check(value)).toBe(true);
  });

  test('names every reason to decline, and everything that may come of a callback', () => {
    const text = JSON.stringify(document);
    for (const code of failureCodes.filter((each) => each !== 'not_received')) expect(text).toContain(code);
    const results = [
      'webhooks',
      'operation.updated',
      'post',
      'responses',
      '200',
      ...json,
      'properties',
      'result',
      'enum',
    ];
    expect(at(results)).toEqual(callbackResults.filter((result) => result !== 'refused'));
  });
});
