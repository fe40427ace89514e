import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../setup/database.ts';
import { shortLimits } from './attacks.ts';
import { prepareServices, startService, type Service } from '../setup/service.ts';
import { hiddenRoute, smuggled } from './smuggling.ts';
import { sendRaw } from './wire.ts';

/** Services as processes of their own: `api`, and `eapi` in front of `sapi`. */
const stack = new AsyncDisposableStack();
const services: Record<string, { front: Service; core: Service }> = {};

beforeAll(async () => {
  const database = stack.use(await testDatabase());
  const prepared = stack.use(await prepareServices(database));
  const api = stack.use(await startService('api', prepared, shortLimits));
  const sapi = stack.use(await startService('sapi', prepared));
  const sapiUrl = `http://127.0.0.1:${sapi.port}`;
  const eapi = stack.use(await startService('eapi', prepared, { ...shortLimits, SERVER_SAPI_URL: sapiUrl }));
  services['api'] = { front: api, core: api };
  services['eapi'] = { front: eapi, core: sapi };
}, 60_000);
afterAll(() => stack.disposeAsync());

describe.each(['api', 'eapi'])('%s', (name) => {
  test(
    'a request inside another is answered by nobody and reaches nothing',
    { timeout: 60_000 },
    async () => {
      const { front, core } = services[name] ?? {};
      if (!front || !core) throw new Error('it was not started');
      const findings: unknown[] = [];
      const attempt = async ([variant, bytes]: [string, string]): Promise<void> => {
        const { statuses, text } = await sendRaw(front.port, Buffer.from(bytes, 'latin1'));
        const final = statuses.filter((status) => status !== '100');
        const isRefused = final.every((status) => /^4\d\d$/.test(status) || isHarmless(variant, status));
        if (final.length > 1 || !isRefused) findings.push({ variant, statuses, text: text.slice(-300) });
      };
      await Promise.all(Object.entries(smuggled).map(attempt));
      // Had anything been left over on a connection between the services, its next user would get another's answer.
      for (let index = 0; index < 100; index += 1) {
        const id = `after-${index}`;
        const headers = { 'x-api-key': 'test-key', 'x-request-id': id };
        const answer = await fetch(`http://127.0.0.1:${front.port}/api/v1/payments?limit=1`, { headers });
        expect([answer.status, answer.headers.get('x-request-id')]).toEqual([200, id]);
      }
      expect(findings).toEqual([]);
      const hasLast = async (): Promise<boolean> =>
        (await core.lines()).some((line) => line['request_id'] === 'after-99');
      await expect.poll(hasLast, { timeout: 10_000 }).toBe(true);
      expect((await core.lines()).filter(({ route }) => route === hiddenRoute)).toEqual([]);
    },
  );
});

/** Requests that are valid, with a body that nobody asked for. */
const isHarmless = (variant: string, status: string): boolean =>
  (/^(GET|HEAD) with a body/.test(variant) && status === '200') ||
  (variant.startsWith('OPTIONS') && status === '204');
