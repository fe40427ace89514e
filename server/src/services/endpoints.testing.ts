import { expect } from 'vitest';
import { sealAll } from '../journal/testing.ts';
import type { Id } from '../lib/ids.ts';
import { apiForTests, send, testKey, type Answer } from './testing.ts';

/** An endpoint as its creation shows it. */
export type Endpoint = Record<string, unknown> & { id: Id<'webhook_endpoint'>; secret: string };

/** An API of its own for all tests of a file, and what they do with webhook endpoints there. */
export const endpointsForTests = () => {
  const api = apiForTests();
  const url = 'https://shop.example/webhooks';
  const ask = (method: string, path: string, json?: object, headers: object = {}): Promise<Answer> =>
    send(`${api.url}/api/v1${path}`, { method, headers: { ...testKey, ...headers }, json });
  /** Its events in the order in which they happened. */
  const eventsOf = async ({ id }: Endpoint): Promise<Record<string, unknown>[]> => {
    await sealAll(api.database);
    const { body } = await ask('GET', `/events?object=${id}&order=asc`);
    return body['data'] as Record<string, unknown>[]; // every event is an object
  };
  return {
    api,
    /** Where endpoints are, unless they say otherwise. */
    url,
    /** Sends a request to `/api/v1` with the key of the tests. */
    ask,
    /** Makes an endpoint that is told about payments, unless it says otherwise. */
    create: async (changes: object = {}): Promise<Endpoint> => {
      const json = { url, events: ['payment.*'], ...changes };
      const { status, body } = await ask('POST', '/webhook-endpoints', json);
      expect(status, JSON.stringify(body)).toBe(201);
      return body as Endpoint; // which the status says
    },
    /** The path of an endpoint, or of what can be done with it. */
    at: ({ id }: Endpoint, verb = ''): string => `/webhook-endpoints/${id}${verb}`,
    eventsOf,
    /** The type and the sequence of each of its events. */
    typesOf: async (endpoint: Endpoint): Promise<unknown[]> =>
      (await eventsOf(endpoint)).map(({ type, sequence }) => [type, sequence]),
  };
};
