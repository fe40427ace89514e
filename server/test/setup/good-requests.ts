import { plain } from '../../src/lib/openapi/example.ts';
import { send, testClient, testKey } from '../../src/services/testing.ts';
import { spreadEvents } from '../../src/webhooks/testing.ts';
import type { TestDatabase } from './database.ts';
import type { Operation, Parameter } from './requests.ts';
import { objectText, validMembers } from './spoilt.ts';

/** A request that would be accepted: the objects in its path, its path, its body, which is JSON unless it says otherwise. */
export type Good = { ids: Record<string, string>; path: string; body: string | undefined; type?: string };

/** The header field of a good body. */
export const typeOf = ({ body, type = 'application/json' }: Pick<Good, 'body' | 'type'>) =>
  body === undefined ? {} : { 'content-type': type };

/** Whether a path parameter is no id of its own, but counts within the object before it. */
export const isNumber = ({ schema }: Pick<Parameter, 'schema'>): boolean =>
  String(schema['pattern']).startsWith('^[1-9]');

/** The prefix of the ids that a path parameter takes, such as `pay_`. */
export const prefixOf = ({ name, schema }: Pick<Parameter, 'name' | 'schema'>): string => {
  const [, prefix] = /^\^([a-z]+_)/.exec(String(schema['pattern'])) ?? [];
  if (prefix === undefined)
    throw new Error(`The path parameter ${name} is no id: say in badPaths what it must refuse`);
  return prefix;
};

/** The path of an operation with these ids in it. */
export const pathOf = ({ path }: Operation, ids: Record<string, string>): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? '');

let made = 0;

/** Makes the objects that requests need, by the prefix of their ids, through the API itself. */
export const maker = (url: string) => {
  const create = async (path: string, body: object): Promise<string> => {
    const answer = await send(`${url}/api/v1${path}`, { method: 'POST', headers: testKey, json: body });
    if (answer.status !== 201)
      throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return String(answer.body['id']);
  };
  const first = async (path: string, member: string): Promise<string> => {
    const { body } = await send(`${url}/api/v1${path}`, { headers: testKey });
    return String(plain((body['data'] as unknown[])[0])[member]);
  };
  const last = async (path: string, member: string): Promise<string> => {
    const { body } = await send(`${url}/api/v1${path}?limit=100`, { headers: testKey });
    return String(plain((body['data'] as unknown[]).at(-1))[member]);
  };
  const statement = (lines: readonly string[]): string =>
    ['reference,kind,amount,currency,status,date', ...lines].join('\n');
  const compare = async (query: string, lines: readonly string[]): Promise<Record<string, unknown>> => {
    const headers = { ...testKey, 'content-type': 'text/csv' };
    const body = statement(lines);
    const answer = await fetch(`${url}/api/v1/reconciliations${query}`, { method: 'POST', headers, body });
    const made = plain(await answer.json());
    if (answer.status !== 201) throw new Error(`a statement was answered ${JSON.stringify(made)}`);
    return made;
  };
  const findToldAgain = async (): Promise<string | undefined> => {
    const { body } = await send(`${url}/api/v1/webhook-endpoints?limit=100`, { headers: testKey });
    const found = (body['data'] as unknown[]).map(plain).find(({ description }) => description === toldAgain);
    return found && String(found['id']);
  };
  const issue = async (): Promise<unknown> =>
    (await send(`${url}/api/v1/authenticate`, { method: 'POST', headers: testClient })).body['token'];
  type Make = (operation: Operation, ids: Record<string, string>, currency: string) => Promise<string>;
  const makers: Record<string, Make> = {
    acct_: () => first('/ledger/accounts?code=payable', 'id'),
    cus_: () => create('/customers', { email: `made.${(made += 1)}@example.com`, name: 'Ada' }),
    del_: () => first('/deliveries', 'id'),
    // The oldest are sealed, if any are.
    evt_: ({ id }) => (id === 'getEvent' ? first('/events', 'id') : last('/audit', 'id')),
    key_: () => create('/api-keys', { name: 'Till' }),
    pay_: ({ id }, _, currency) =>
      create('/payments', { amount: '1000', currency, capture: !/^(capture|cancel)/.test(id) }),
    rec_: async () => {
      const lines = ['a', 'b', 'c'].map((name) => `${name},charge,1.00,USD,succeeded,2026-11-22`);
      return String((await compare('?connector=book', lines))['id']);
    },
    ref_: (_, ids) => create(`/payments/${ids['id']}/refunds`, { amount: '1' }),
    trf_: async () =>
      first(`/ledger/accounts/${await first('/ledger/accounts?code=payable', 'id')}/entries`, 'transfer_id'),
    we_: async ({ id }) => {
      // What it answers is equal for one endpoint alone.
      if (id === 'retryFailedDeliveries') return first('/webhook-endpoints', 'id');
      const found = id === 'listWebhookReplays' ? await findToldAgain() : undefined;
      if (found) return found;
      const endpoint = await create('/webhook-endpoints', { url: 'https://shop.example/', events: ['*'] });
      if (id.startsWith('enable'))
        await send(`${url}/api/v1/webhook-endpoints/${endpoint}/disable`, {
          method: 'POST',
          headers: testKey,
        });
      return endpoint;
    },
    ven_: () => create('/vendors', { slug: `made-${(made += 1)}`, name: 'Made' }),
  };
  return async (operation: Operation, currency = 'USD'): Promise<Good> => {
    const ids: Record<string, string> = {};
    for (const parameter of operation.parameters.filter((each) => each.in === 'path')) {
      if (isNumber(parameter)) {
        ids[parameter.name] = '1';
        continue;
      }
      const make = makers[prefixOf(parameter)];
      if (!make)
        throw new Error(
          `No object has an id that starts with ${prefixOf(parameter)}: add it to the makers in setup/good-requests.ts`,
        );
      ids[parameter.name] = await make(operation, ids, currency);
    }
    if (operation.id === 'createReconciliation') {
      const payment = await create('/payments', { amount: '1', currency });
      const body = statement([`${payment},charge,1,${currency},succeeded,2026-11-22`]);
      return { ids, path: pathOf(operation, ids), body, type: 'text/csv' };
    }
    const members = operation.body && validMembers(operation.body);
    if (members && 'token' in members) members['token'] = JSON.stringify(await issue());
    return { ids, path: pathOf(operation, ids), body: members && objectText(members) };
  };
};

/** By this the endpoint is found that has replays. */
const toldAgain = 'is told again';

/** What proofs of the journal are about, deliveries, and replays of an endpoint. */
export const signTwoHeads = async (url: string, database: TestDatabase): Promise<void> => {
  const endpoint = { url: 'https://shop.example/', events: ['payment.*'], description: toldAgain };
  const post = { method: 'POST', headers: testKey };
  const { body } = await send(`${url}/api/v1/webhook-endpoints`, { ...post, json: endpoint });
  for (const amount of ['1', '2']) {
    const payment = { method: 'POST', headers: testKey, json: { amount, currency: 'USD' } };
    await send(`${url}/api/v1/payments`, payment);
    const range = { from: '2026-11-21T08:00:00Z', before: '2026-11-22T08:00:00Z' };
    await send(`${url}/api/v1/webhook-endpoints/${String(body['id'])}/replay`, { ...post, json: range });
    await spreadEvents(database);
  }
};
