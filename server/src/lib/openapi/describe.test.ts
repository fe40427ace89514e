import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testServer } from '../http/testing.ts';
import { plain, type PlainSchema } from './example.ts';
import { lint } from './lint.testing.ts';
import { sampleApi } from './sample.testing.ts';

let document: PlainSchema;
let server: Awaited<ReturnType<typeof testServer>>;
beforeAll(async () => {
  server = await testServer(async (app) => {
    await sampleApi(app);
    app.get('/hidden', { config: { requires: 'public' } }, () => 'ok');
  });
  document = plain(server.app.swagger());
});
afterAll(() => server.app.close());

const at = (path: string): unknown =>
  path.split(' ').reduce<unknown>((inner, step) => plain(inner)[step], document);

describe('the document', () => {
  test('passes Spectral with its OWASP rules', async () => {
    expect(await lint(document)).toBe('');
  });

  test('fails Spectral when an operation forgets its limit, its example or its credentials', async () => {
    const broken = structuredClone(document);
    const operation = plain(plain(plain(broken['paths'])['/api/v1/payments'])['post']);
    delete plain(operation['responses'])['429'];
    delete plain(operation['responses'])['415'];
    delete plain(plain(plain(operation['requestBody'])['content'])['application/json'])['example'];
    operation['security'] = [];
    const list = plain(plain(plain(broken['paths'])['/api/v1/payments'])['get']);
    delete plain(list['responses'])['404'];
    const found = await lint(broken);
    expect(found).toContain('florin-limited-operations-answer-429');
    expect(found).toContain('florin-bodies-can-be-refused');
    expect(found).toContain('florin-vendors-can-be-unknown');
    expect(found).toContain('florin-request-has-an-example');
    expect(found).toContain('florin-only-probes-and-sign-in-are-open');
  });

  test('takes security from what a route requires', () => {
    expect(at('paths /api/v1/payments get security')).toEqual([
      { clientId: [], clientSecret: [] },
      { apiKey: [] },
      { bearer: [] },
    ]);
    expect(at('paths /api/v1/payments/{id} get security')).toEqual([{ apiKey: [] }, { bearer: [] }]);
    expect(at('paths /api/v1/payments/{id} get description')).toBe('Requires role `admin` of the platform.');
  });

  test('shows every error of an operation with an example', () => {
    const statuses = Object.keys(plain(at('paths /api/v1/payments post responses')));
    expect(statuses).toEqual([
      '200',
      '201',
      '400',
      '401',
      '403',
      '404',
      '408',
      '409',
      '413',
      '415',
      '422',
      '429',
      '431',
      '500',
      '503',
      '504',
    ]);
    expect(
      Object.keys(
        plain(at('paths /api/v1/payments post responses 422 content application/problem+json examples')),
      ),
    ).toEqual(['idempotency_key_reused', 'insufficient_funds']);
    expect(at('components examples invalid_api_key value')).toMatchObject({
      status: 403,
      error: 'Invalid API key',
    });
    expect(Object.keys(plain(at('components examples')))).not.toContain('no_connector');
  });

  test('shows how a body is refused also where none is expected, and who else is not found', () => {
    const statuses = Object.keys(plain(at('paths /api/v1/payments/{id} delete responses')));
    expect(statuses).toEqual(expect.arrayContaining(['413', '415']));
    expect(Object.keys(plain(at('paths /api/v1/payments get responses')))).toContain('404');
  });

  test('demands a body only where a request without one is refused', () => {
    expect(at('paths /api/v1/payments post requestBody required')).toBe(true);
    expect(at('paths /api/v1/payments/{id}/capture post requestBody required')).toBe(false);
    expect(at('paths /api/v1/tokens post requestBody required')).toBe(false);
  });

  test('shows an example of every request and answer', () => {
    expect(at('paths /api/v1/payments post requestBody content application/json example')).toEqual({
      amount: '10.50',
      currency: 'EUR',
    });
    expect(at('paths /api/v1/payments get responses 200 content application/json example')).toMatchObject({
      data: [{ id: 'pay_01h455vb4pex5vsknk084sn02q', amount: '10.50' }],
      has_more: false,
      next_cursor: null,
    });
  });

  test('names the headers of writes and the optional parameters of lists', () => {
    const names = (path: string) => {
      const parameters = at(path);
      return (Array.isArray(parameters) ? parameters : []).map(
        (parameter) => parameter.name ?? parameter.$ref,
      );
    };
    expect(names('paths /api/v1/payments post parameters')).toEqual([
      '#/components/parameters/IdempotencyKey',
      '#/components/parameters/DryRun',
      '#/components/parameters/FlorinVendor',
    ]);
    expect(names('paths /api/v1/payments get parameters')).toEqual([
      'limit',
      'cursor',
      'status',
      '#/components/parameters/FlorinVendor',
    ]);
    expect(at('paths /api/v1/payments get parameters 0 required')).toBe(false);
  });

  test('leaves out what has no operation id, and words for our own messages', () => {
    expect(Object.keys(plain(document['paths']))).not.toContain('/hidden');
    expect(JSON.stringify(document)).not.toContain('x-expected');
    expect(JSON.stringify(document)).not.toContain('x-noun');
  });
});

test('two routes with one operation id are an error', async () => {
  const twice = testServer(async (app) => {
    await sampleApi(app);
    app.get('/again', { config: { requires: 'public' }, schema: { operationId: 'getPayment' } }, () => 'ok');
    await app.ready();
    app.swagger();
  });
  await expect(twice).rejects.toThrow('getPayment');
});
