import { describe, expect, test } from 'vitest';
import { eventTypes } from '../events/catalogue.ts';
import { sealAll, startSequencer } from '../journal/testing.ts';
import { apiForTests, send, testKey } from '../services/testing.ts';
import { follow } from './events.ts';
import { operatorEnv, programOf, run } from './operator.testing.ts';
import { trigger, triggered, type AskApi } from './trigger.ts';

const api = apiForTests();

const asVendor =
  (vendor: string): AskApi =>
  async (method, path, body) => {
    const headers = { ...testKey, 'florin-vendor': vendor };
    const answer = await send(`${api.url}/api/v1${path}`, { method, headers, json: body });
    if (answer.status >= 300) throw new Error(String(answer.body['detail']));
    return answer.body;
  };
const ask = asVendor('test-vendor');

/** Runs a command as an operator does, against the test database; gives what it printed. */
const florin = async (...argv: string[]): Promise<string> =>
  (await run(programOf('events.ts'), argv, operatorEnv(api.database, api.parts.secretsFolder))).stdout;

describe('typed by an operator', { timeout: 60_000 }, () => {
  test('trigger makes it happen with a key of its own, which opens nothing afterwards; tail prints it', async () => {
    await using _sequencer = startSequencer(api.database);
    const event = JSON.parse(
      await florin('events', 'trigger', 'payment.failed', '--url', api.url, '--json'),
    ) as Record<string, string>;
    expect(event).toMatchObject({ type: 'payment.failed', mode: 'test', object: { type: 'payment' } });
    const printed = await florin('events', 'tail', '--since', '2000-01-01', '--once', '--type', 'payment.*');
    expect(printed).toContain(`${event['object_id']}`);
    const headers = { ...testKey, 'florin-vendor': 'test-vendor' };
    const { body } = await send(`${api.url}/api/v1/api-keys`, { headers });
    expect(body['data']).toMatchObject([{ name: 'florin events trigger', revoked_at: expect.any(String) }]);
  });

  test('what is typed wrongly is explained', async () => {
    await expect(florin('events', 'tail', '--type', 'pay*')).rejects.toThrow('payment.succeeded');
    await expect(florin('events', 'tail', '--since', 'yesterday')).rejects.toThrow('2h');
    await expect(florin('events', 'tail', '--once')).rejects.toThrow('--once goes with --since');
    const nowhere = florin('events', 'trigger', 'payment.failed', '--url', 'http://127.0.0.1:9');
    await expect(nowhere).rejects.toThrow('The API does not answer at http://127.0.0.1:9');
    expect(await florin('events', 'types')).toContain('payment.succeeded');
  });
});

describe('florin events trigger', () => {
  test.each(triggered)('makes %s really happen', async (type) => {
    const object = await trigger(ask, type);
    await sealAll(api.database);
    const { data } = await ask('GET', `/events?object=${object}&type=${type}`);
    expect(data).toMatchObject([{ type, mode: 'test', object: { id: object } }]);
  });

  test('makes every type of payments, refunds and customers', () => {
    const types = eventTypes.filter(({ object }) => ['payment', 'refund', 'customer'].includes(object));
    expect([...triggered].sort()).toEqual(types.map(({ type }) => type).sort());
  });

  test('says what can be triggered, and what to do instead for the others', async () => {
    await expect(trigger(ask, 'payment.exploded')).rejects.toThrow('payment.succeeded');
    await expect(trigger(ask, 'webhook_endpoint.tested')).rejects.toThrow('/webhook-endpoints/:id/test');
    await expect(trigger(ask, 'webhook_endpoint.updated')).rejects.toThrow('Change a webhook endpoint');
    await expect(trigger(ask, 'toString')).rejects.toThrow('can not be triggered');
  });

  test('says what the API refused', async () => {
    await expect(trigger(asVendor('nobody'), 'payment.succeeded')).rejects.toThrow('No such vendor.');
  });
});

describe('florin events tail', () => {
  const nothing = new AbortController().signal;
  const tail = async (options: Parameters<typeof follow>[1]): Promise<string[]> => {
    const lines: string[] = [];
    await follow(
      api.database.db,
      { once: true, since: new Date(0), ...options },
      (line) => lines.push(line),
      nothing,
    );
    return lines;
  };

  test('prints what is there, chosen by type, vendor, mode and time', async () => {
    const own = await trigger(ask, 'payment.canceled');
    const other = await trigger(asVendor('xyz-vendor'), 'payment.canceled');
    await sealAll(api.database);
    const printed = async (options: Parameters<typeof follow>[1]) => {
      const text = (await tail(options)).join('\n');
      return [own, other].map((id) => text.includes(id));
    };
    expect(await printed({})).toEqual([true, true]);
    expect(await printed({ vendor: 'xyz-vendor' })).toEqual([false, true]);
    expect(await printed({ vendor: 'test-vendor', mode: 'test' })).toEqual([true, false]);
    expect(await printed({ vendor: 'test-vendor', mode: 'live' })).toEqual([false, false]);
    expect(await printed({ type: 'refund.*' })).toEqual([false, false]);
    expect(await printed({ type: 'payment.canceled' })).toEqual([true, true]);
    expect(await printed({ since: new Date(api.parts.clock.now().getTime() + 1) })).toEqual([false, false]);
    expect(await printed({ since: api.parts.clock.now() })).toEqual([true, true]);
    await expect(tail({ vendor: 'nobody' })).rejects.toThrow('There is no vendor "nobody"');
    await expect(tail({ mode: 'live' })).rejects.toThrow('--mode goes with --vendor');
  });

  test('prints JSON as webhooks send it, without personal data', async () => {
    await trigger(ask, 'customer.created');
    await sealAll(api.database);
    const lines = await tail({ json: true, type: 'customer.created' });
    const { type, object, data } = JSON.parse(lines.at(-1) ?? '{}') as Record<string, object>;
    expect({ type, object, data }).toMatchObject({
      type: 'customer.created',
      object: { type: 'customer' },
      data: { object: 'customer' },
    });
    expect(lines.join('\n')).not.toContain('example.com');
  });

  test('without --since it begins with what happens next, and goes on until it is stopped', async () => {
    await trigger(ask, 'payment.succeeded');
    await sealAll(api.database);
    const lines: string[] = [];
    const stopping = new AbortController();
    const ended = follow(api.database.db, {}, (line) => lines.push(line), stopping.signal);
    // Nobody knows when it has begun: what happens is told to it from then on.
    while (lines.length === 0) {
      await trigger(ask, 'customer.created');
      await sealAll(api.database);
    }
    stopping.abort();
    await ended;
    expect(lines.filter((line) => !line.includes('customer.created'))).toEqual([]);
  });
});
