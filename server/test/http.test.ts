import { describe, expect, test } from 'vitest';
import { makeDocument } from '../src/services/document.ts';
import { apiForTests, arrangements, testKey } from '../src/services/testing.ts';
import { maker, signTwoHeads } from './setup/good-requests.ts';
import { probesForTests } from './setup/probes.ts';
import { operationsOf, transmit, type Operation, type Received } from './setup/requests.ts';
import { words } from './setup/spoilt.ts';

const operations = operationsOf(await makeDocument('0.0.0'));
const shop = 'https://shop.example';

describe.each(arrangements)('HTTP in $name', ({ start }) => {
  const api = apiForTests({ start });
  const well = async (): Promise<void> => undefined;
  const health = probesForTests({ database: well, internal: well, cache: async () => 'connected' });

  const urlOf = ({ isProbe }: Operation): string => (isProbe ? health.url : api.url);
  const paths = [...new Set(operations.map(({ path }) => path))];
  const allowedAt = (path: string): string[] => {
    const methods = operations.filter((operation) => operation.path === path).map(({ method }) => method);
    return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].sort();
  };
  const allowOf = ({ headers }: Received): string => String(headers.allow).split(', ').sort().join();
  const send = (
    method: string,
    path: string,
    headers: Record<string, string> = testKey,
  ): Promise<Received> => {
    const operation = operations.find((each) => each.path === path);
    return transmit({
      method,
      url: `${operation ? urlOf(operation) : api.url}${path.replace(/\{\w+\}/g, 'x')}`,
      headers,
    });
  };

  test('every path answers other methods with 405 and names its own', async () => {
    const faults: unknown[] = [];
    for (const path of paths) {
      const allow = allowedAt(path);
      for (const method of words('GET POST PUT PATCH DELETE').filter((each) => !allow.includes(each))) {
        const answer = await send(method, path);
        const { status, body } = answer;
        const isRight =
          status === 405 && body['code'] === 'method_not_allowed' && allowOf(answer) === allow.join();
        if (!isRight) faults.push({ method, path, status, allow: allowOf(answer) });
      }
    }
    expect(faults).toEqual([]);
  });

  test('every path answers OPTIONS with 204 and names its methods', async () => {
    const faults: unknown[] = [];
    for (const path of paths) {
      const answer = await send('OPTIONS', path, {});
      const isRight =
        answer.status === 204 && answer.text === '' && allowOf(answer) === allowedAt(path).join();
      if (!isRight) faults.push({ path, status: answer.status, allow: allowOf(answer) });
    }
    expect(faults).toEqual([]);
  });

  test('HEAD answers as GET does, without the body', async () => {
    await signTwoHeads(api.url, api.database);
    const make = maker(api.url);
    for (const operation of operations.filter(({ method }) => method === 'GET')) {
      const url = urlOf(operation) + (await make(operation)).path;
      const [get, head] = [
        await transmit({ method: 'GET', url, headers: testKey }),
        await transmit({ method: 'HEAD', url, headers: testKey }),
      ];
      const shown = ({ status, headers }: Received) => [
        status,
        headers['content-type'],
        headers['content-length'],
      ];
      expect([operation.id, get.status]).toEqual([operation.id, 200]);
      expect([operation.id, head.text, ...shown(head)]).toEqual([operation.id, '', ...shown(get)]);
    }
    const missing = await send('HEAD', '/api/v1/payments/pay_00000000000000000000000000');
    expect([missing.status, missing.text]).toEqual([404, '']);
  });

  test('an unknown path is 404, for OPTIONS too', async () => {
    for (const path of words(
      '/nothing /api/v1/nothing /api/v1/payments/x/y/z /api/v2/payments /api/v1 /API/V1/payments',
    )) {
      for (const method of words('GET POST OPTIONS')) {
        const { status, body } = await send(method, path);
        expect({ path, method, status, code: body['code'] }).toEqual({
          path,
          method,
          status: 404,
          code: 'not_found',
        });
      }
    }
  });

  test('a browser of an allowed origin is told what it may send, for every operation', async () => {
    for (const { method, path, parameters } of operations) {
      const asked = { origin: shop, 'access-control-request-method': method };
      const { status, headers } = await send('OPTIONS', path, asked);
      expect([
        status,
        headers['access-control-allow-origin'],
        headers['access-control-allow-credentials'],
      ]).toEqual([204, shop, 'true']);
      expect(words(String(headers['access-control-allow-methods']).replaceAll(',', ''))).toContain(method);
      const allowed = words(
        String(headers['access-control-allow-headers']).toLowerCase().replaceAll(',', ''),
      );
      const needed = parameters.filter((each) => each.in === 'header').map(({ name }) => name.toLowerCase());
      expect(allowed).toEqual(
        expect.arrayContaining([...needed, ...words('content-type authorization x-api-key')]),
      );
    }
  });

  test('a page of an allowed origin reads answers and refusals, once each header field; another origin reads nothing', async () => {
    for (const credential of [testKey, {}]) {
      const { headers } = await send('GET', '/api/v1/payments', { ...credential, origin: shop });
      expect([headers['access-control-allow-origin'], headers.vary]).toEqual([shop, 'Origin']);
    }
    for (const method of words('GET OPTIONS')) {
      const asked = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
      const { status, headers } = await send(method, '/api/v1/payments', { ...testKey, ...asked });
      expect([status, headers['access-control-allow-origin']]).toEqual([403, undefined]);
    }
  });
});
