import { sql } from 'kysely';
import { beforeAll, describe, expect, test } from 'vitest';
import { bodyOf, exchange } from '../src/lib/http/testing.ts';
import { plain } from '../src/lib/openapi/example.ts';
import { makeDocument } from '../src/services/document.ts';
import {
  apiForTests,
  oneProcess,
  send,
  testClient,
  testKey,
  testParts,
  twoProcesses,
  withoutRateLimit,
} from '../src/services/testing.ts';
import { badMoney, badRequests, json, type Bad } from './setup/bad-requests.ts';
import { testDatabase } from './setup/database.ts';
import { maker, signTwoHeads, typeOf, type Good } from './setup/good-requests.ts';
import { probesForTests } from './setup/probes.ts';
import {
  changedTables,
  operationsOf,
  problemFaults,
  shown,
  tablesOf,
  transmit,
  undocumented,
  type Operation,
  type Received,
} from './setup/requests.ts';
import { cardNumbers, secrets } from './setup/spoilt.ts';

const document = await makeDocument('0.0.0');
const operations = operationsOf(document);
const problem = plain(plain(plain(plain(document)['components'])['schemas'])['Problem']);

describe.each([
  { name: 'one process', start: oneProcess, every: 1 },
  { name: 'two processes', start: twoProcesses, every: 12 },
])('bad input to $name', ({ start, every }) => {
  const api = apiForTests({ start, config: withoutRateLimit });
  const health = probesForTests({
    database: async () => 1,
    cache: async () => 'not configured',
    internal: async () => 1,
  });
  let tables: Awaited<ReturnType<typeof tablesOf>>;
  let make: ReturnType<typeof maker>;
  let cursors: ReadonlyMap<string, string>;
  const strangers = new Set<string>();

  beforeAll(async () => {
    tables = await tablesOf(api.database.superuser);
    make = maker(api.url);
    for (const operation of [...operations, ...operations]) await make(operation);
    await signTwoHeads(api.url, api.database);
    // What is noted about credentials is noted now, and stays the same while the clock stands still.
    await api.edge.watch.reportUse();
    cursors = await cursorsOfLists();
  });

  const isList = ({ parameters }: Operation): boolean => parameters.some(({ name }) => name === 'cursor');

  /** A cursor that each list gave out itself; so every list needs two rows. */
  const cursorsOfLists = async (): Promise<Map<string, string>> => {
    const found = new Map<string, string>();
    for (const operation of operations.filter(isList)) {
      const good = await make(operation);
      // Where the objects of a list are made at its own path, it is an empty one yet.
      for (const _ of [1, 2])
        if (good.ids['id'])
          await send(api.url + good.path, { method: 'POST', headers: testKey, json: { amount: '1' } });
      const { body } = await send(`${api.url}${good.path}?limit=1`, { headers: testKey });
      if (typeof body['next_cursor'] !== 'string')
        throw new Error(`${operation.id} needs two rows: make them in cursorsOfLists`);
      found.set(operation.id, body['next_cursor']);
    }
    return found;
  };

  const transmitTo = (operation: Operation, good: Good, change: Bad['change'] = {}): Promise<Received> => {
    const { path = good.path, headers = {}, ...rest } = change;
    const credential = operation.isPublic ? {} : testKey;
    const type = rest.body === undefined ? typeOf(good) : json;
    const sent = { ...type, ...credential, ...headers };
    const url = operation.isProbe ? health.url : api.url;
    return transmit({ body: good.body, ...rest, method: operation.method, url: url + path, headers: sent });
  };

  let known: { xid: string; contents: Awaited<ReturnType<typeof tables.contents>> } | undefined;
  /** What is stored; read only if any transaction wrote something since it was read. */
  const contentsNow = async () => {
    const { rows } = await sql<{ xid: string }>`
      select pg_snapshot_xmax(pg_current_snapshot())::text as xid
    `.execute(api.database.superuser);
    const { xid = '' } = rows[0] ?? {};
    if (known?.xid !== xid) known = { xid, contents: await tables.contents() };
    return known.contents;
  };

  /** What is wrong with the way in which a bad request is refused. */
  const judge = async (
    operation: Operation,
    good: Good,
    bad: Bad,
  ): Promise<{ answer: Received; faults: string[] }> => {
    const before = await contentsNow();
    const answer = await transmitTo(operation, good, bad.change);
    const { status, body } = answer;
    if (status === 401) await api.edge.events.settled();
    const written = changedTables(before, await contentsNow());
    const { statuses = [400], fields = [''] } = bad;
    const named = (Array.isArray(body['errors']) ? body['errors'] : []).map((each) =>
      String(plain(each)['field']),
    );
    const strange = named.filter((name) => !fields.some((field) => concerns(field, name)));
    const told = [...secrets, ...cardNumbers].filter((secret) => String(body['detail']).includes(secret));
    const faults = [
      ...(statuses.includes(status) ? [] : [`answered ${shown(answer)}, not ${statuses.join(' or ')}`]),
      ...(status >= 400 ? problemFaults(problem, answer) : []),
      ...(status === 400 && named.length === 0 && fields.length > 0 ? ['no field is named'] : []),
      ...(status === 400 && strange.length > 0
        ? [`names ${strange.join().slice(0, 100)}, not ${fields.join(' or ')}`]
        : []),
      ...(written.length === 0 || (await areSecurityEvents(answer, written))
        ? []
        : [`wrote ${written.join(', ')}`]),
      ...told.map((secret) => `tells ${secret}`),
    ];
    return { answer, faults: faults.map((fault) => `${bad.what}: ${fault}`) };
  };

  /** Whether all that was written are the journal entries about a caller who proved nothing. */
  const areSecurityEvents = async ({ status, headers }: Received, written: string[]): Promise<boolean> => {
    const { rows } = await sql<{ kind: string }>`
      select kind from journal.entries where request_id = ${headers['x-request-id']}
    `.execute(api.database.superuser);
    const isExpected = status === 401 && rows.every(({ kind }) => kind === 'authentication.failed');
    return isExpected && written.join() === `journal.entries (${rows.length} rows more)`;
  };

  const judgeAll = async (operation: Operation, good: Good, bad: readonly Bad[]): Promise<string[]> => {
    const found: string[] = [];
    let target = good;
    const offset = operations.indexOf(operation);
    for (const one of bad.filter((_, index) => (index + offset) % every === 0)) {
      const { answer, faults } = await judge(operation, target, one);
      found.push(...faults);
      // With another path comes another operation.
      if (answer.status >= 400 && answer.status !== 405)
        for (const one of undocumented(operation, answer)) strangers.add(one);
      // What was accepted by mistake has changed the object; the next case needs a fresh one.
      else target = await make(operation);
    }
    return found;
  };

  test.each(operations.map((operation) => ({ name: `${operation.method} ${operation.path}`, operation })))(
    '$name refuses it with the field named and writes nothing',
    async ({ operation }) => {
      const good = await make(operation);
      const own = cursors.get(operation.id) ?? '';
      const bad = badRequests(operation, good, [
        own,
        ...[...cursors.values()].filter((cursor) => cursor !== own),
      ]);
      const faults = await judgeAll(operation, good, bad);
      for (const group of await badMoney(operation, (currency) => make(operation, currency))) {
        faults.push(...(await judgeAll(operation, group.good, group.bad)));
      }
      expect(faults).toEqual([]);
    },
  );

  test('what is no HTTP is refused with 400, and nothing is written', async () => {
    const before = await tables.contents();
    const port = Number(new URL(api.url).port);
    const head = `POST /api/v1/payments HTTP/1.1\r\nHost: x\r\nX-API-Key: ${testKey['x-api-key']}\r\nContent-Type: application/json\r\n`;
    const body = '{"amount":"1.00","currency":"USD"}';
    const length = `Content-Length: ${body.length}\r\n`;
    const controls = ['\u0000', '\u0007', '\u001b'].map(
      (control) => `Idempotency-Key: a${control}b\r\n${length}`,
    );
    const lengths = [
      'Content-Length: -1\r\n',
      'Content-Length: 1e1\r\n',
      `${length}Content-Length: 2\r\n`,
      `${length}Transfer-Encoding: chunked\r\n`,
    ];
    for (const fields of [...controls, ...lengths, `${length}no field\r\n`, ` folded: ${length}`]) {
      const text = await exchange(port, `${head}${fields}\r\n${body}`);
      expect(text, fields).toMatch(/^HTTP\/1.1 400 /);
      expect(bodyOf(text), fields).toMatchObject({ code: 'invalid_request', status: 400 });
    }
    expect(changedTables(before, await tables.contents())).toEqual([]);
  });

  test('every refusal that was met is documented for its operation', () => {
    expect([...strangers]).toEqual([]);
  });

  test('no table holds a card number that was sent', async () => {
    const found = await Promise.all(cardNumbers.map((card) => tables.find(card)));
    expect(found.flat().map((row) => row.slice(0, 200))).toEqual([]);
  });

  test('no log line holds a credential or a card number that was sent, be it refused or accepted', async () => {
    const text = secrets.join(' and ');
    const accepted = [
      send(`${api.url}/api/v1/customers`, {
        method: 'POST',
        headers: testKey,
        json: { name: text, email: 'x@example.com', metadata: { text } },
      }),
      send(`${api.url}/api/v1/payments`, {
        method: 'POST',
        headers: testKey,
        json: { amount: '1.00', currency: 'USD', description: text },
      }),
      send(`${api.url}/api/v1/payments?reference=${encodeURIComponent(`${text} ${cardNumbers[0]}`)}`, {
        headers: testKey,
      }),
      send(`${api.url}/api/v1/authenticate`, { method: 'POST', headers: testClient }),
    ];
    expect((await Promise.all(accepted)).map(({ status }) => status)).toEqual([201, 201, 200, 200]);
    const lines = [...api.parts.lines, ...health.lines].map((line) => JSON.stringify(line));
    expect(lines.length).toBeGreaterThan(100);
    const planted = [...secrets, ...cardNumbers, 'eyJ'];
    expect(lines.filter((line) => planted.some((secret) => line.includes(secret)))).toEqual([]);
  });
});

test('every request that is spoilt here would be accepted as it stands', async () => {
  await using database = await testDatabase();
  await using parts = await testParts(database);
  await using api = await oneProcess(parts);
  await signTwoHeads(api.url, database);
  const make = maker(api.url);
  const refused: string[] = [];
  for (const operation of operations.filter(({ isProbe }) => !isProbe)) {
    const good = await make(operation);
    const { path, body } = good;
    const headers = { ...(operation.isPublic ? {} : testKey), ...typeOf(good) };
    const { status, text } = await transmit({ method: operation.method, url: api.url + path, headers, body });
    if (status >= 300) refused.push(`${operation.id} answered ${status}: ${text}`);
  }
  expect(refused).toEqual([]);
});

/** Whether a field that a refusal names is the one that is wrong, a part of it, or what it is a part of. */
const concerns = (wrong: string, named: string): boolean =>
  wrong === '' || named === wrong || named.startsWith(`${wrong}.`) || wrong.startsWith(`${named}.`);
