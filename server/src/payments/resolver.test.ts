import assert from 'node:assert/strict';
import { sql } from 'kysely';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { GivenAnswer } from '../journal/idempotency.ts';
import { toUuid, type Id } from '../lib/ids.ts';
import { differencesIn } from '../../test/setup/api.ts';
import { testDatabase } from '../../test/setup/database.ts';
import type { Connector, ConnectorStatus } from './connectors/connector.ts';
import { create } from './create.ts';
import { refund } from './payments.ts';
import { resolveDue } from './resolver.ts';
import {
  absenceMs,
  callMs,
  kinds,
  leave as leaveOn,
  openBackend as openBackendOn,
  openTestWorker,
  type Silence,
} from './resolver.testing.ts';
import { balancesOf, contextFor, newTenant, paymentIn, testPayments } from './testing.ts';

const database = await testDatabase();
const { module, clock, errors, close } = testPayments(database);
afterAll(async () => {
  await close();
  await database[Symbol.asyncDispose]();
});
afterEach(async () => {
  assert.deepEqual(await differencesIn(database.db), []);
});

const dollars = { amount: '100.00', currency: 'USD' };
const as = (tenantId: number, key?: string) => ({ context: contextFor(tenantId, clock.now()), key });
const openBackend = () => openBackendOn(module);
const openWorker = () => openTestWorker(module);
const leave = (name: string, way: Silence) => leaveOn({ module, clock }, name, way);
const payableOf = async (tenant: number) => (await balancesOf(database.db, tenant))['payable'];

const ways = ['says nothing', 'holds the caller'] as const;
const eachRequest = Object.keys(kinds).flatMap((name) => ways.map((way) => [name, way] as const));

const stateOf = (answer: GivenAnswer): string => paymentIn(answer).status;
const failureOf = (answer: GivenAnswer): string | null => paymentIn(answer).failure_code;

describe.each(eachRequest)('a %s whose backend %s', (name, way) => {
  const { calls, approved, refused, waiting } = kinds[name] ?? {};

  test('is settled when the backend says that it happened', async () => {
    const { tenant, backend, again } = await leave(name, way);
    backend.says = { outcome: 'approved', backendReference: 'b-1' };
    await resolveDue(openWorker());
    const answer = await again();
    expect(answer).toMatchObject({ status: approved?.status, replayed: true });
    expect(stateOf(answer)).toBe(approved?.state);
    expect(await payableOf(tenant)).toBe(approved?.payable);
    expect(backend.calls.filter((called) => called === calls)).toHaveLength(1);
  });

  test('fails when the backend says that it declined', async () => {
    const { tenant, backend, again } = await leave(name, way);
    backend.says = { outcome: 'declined', failureCode: 'do_not_honor' };
    errors.length = 0;
    await resolveDue(openWorker());
    const answer = await again();
    expect(answer).toMatchObject({ status: refused?.status, replayed: true });
    expect(stateOf(answer)).toBe(refused?.state);
    if (name !== 'refund of the rest') expect(failureOf(answer)).toBe('do_not_honor');
    expect(errors).toEqual(['do_not_honor']);
    expect(await payableOf(tenant)).toBe(refused?.payable);
  });

  test('fails as not received when the backend goes on saying that it never heard of it', async () => {
    const { tenant, backend, again } = await leave(name, way);
    backend.says = { outcome: 'absent' };
    const worker = openWorker();
    await resolveDue(worker);
    expect((await again()).status).toBe(202);
    clock.advance(absenceMs);
    await resolveDue(worker);
    const answer = await again();
    expect(answer).toMatchObject({ status: refused?.status, replayed: true });
    expect(stateOf(answer)).toBe(refused?.state);
    if (name !== 'refund of the rest') expect(failureOf(answer)).toBe('not_received');
    expect(await payableOf(tenant)).toBe(refused?.payable);
    expect(backend.calls.filter((called) => called === calls)).toHaveLength(1);
  });

  test('stays unknown, with the money where it was, while the backend does not know', async () => {
    const { tenant, backend, again } = await leave(name, way);
    const worker = openWorker();
    for (let pass = 0; pass < 12; pass += 1) {
      await resolveDue(worker);
      clock.advance(15 * 60_000);
    }
    expect(backend.asked).toEqual(Array.from({ length: 12 }, () => calls));
    const answer = await again();
    expect(answer.status).toBe(202);
    if (name !== 'refund of the rest') expect(stateOf(answer)).toBe('unknown');
    expect(await payableOf(tenant)).toBe(waiting);
    expect(backend.calls.filter((called) => called === calls)).toHaveLength(1);
    expect(worker.unresolved.count).toBeGreaterThan(0);
    expect(worker.unresolved.oldestAgeS).toBeGreaterThan(11 * 15 * 60);
  });
});

describe('asking', () => {
  test('nobody is asked while the call may still be answered', async () => {
    const { backend } = await leave('charge', 'holds the caller');
    clock.advance(-callMs);
    await resolveDue(openWorker());
    expect(backend.asked).toEqual([]);
  });

  test('the pauses double from five seconds to a quarter of an hour', async () => {
    const { backend } = await leave('charge', 'says nothing');
    const [worker, pausesS] = [openWorker(), [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]];
    await resolveDue(worker);
    for (const [index, pauseS] of pausesS.entries()) {
      clock.advance(pauseS * 1000 - 1);
      await resolveDue(worker);
      expect(backend.asked).toHaveLength(index + 1);
      clock.advance(1);
      await resolveDue(worker);
      expect(backend.asked).toHaveLength(index + 2);
    }
  });

  test('two workers at once ask about each call once', async () => {
    const backend = openBackend();
    backend.silent = { kind: 'authorise', way: 'says nothing' };
    backend.says = { outcome: 'approved' };
    const tenant = newTenant();
    await Promise.all(
      Array.from({ length: 40 }, () =>
        create(module, as(tenant), { ...dollars, payment_method: backend.name }),
      ),
    );
    clock.advance(callMs);
    const workers = Array.from({ length: 4 }, openWorker);
    while ((await Promise.all(workers.map((worker) => resolveDue(worker)))).some((taken) => taken > 0));
    expect(backend.asked).toHaveLength(40);
    expect(await payableOf(tenant)).toBe('400000/0/0');
  });

  test('what a killed worker was asking about is taken over when its lease ends, not before', async () => {
    const { backend, tenant } = await leave('charge', 'says nothing');
    const asking = Promise.withResolvers<void>();
    backend.says = () => {
      asking.resolve();
      // A process that was killed here never comes back.
      return new Promise(() => undefined);
    };
    const patient = { ...openWorker(), connectorTimeoutMs: 10_000 };
    void resolveDue(patient);
    await asking.promise;
    backend.says = { outcome: 'approved' };
    await resolveDue(openWorker());
    expect(backend.asked).toHaveLength(1);
    clock.advance(10_000 + 30_000);
    await resolveDue(openWorker());
    expect(backend.asked).toHaveLength(2);
    expect(await payableOf(tenant)).toBe('10000/0/0');
  });

  test('a worker that wakes up after its lease does not put off what another has taken over', async () => {
    const { backend } = await leave('charge', 'says nothing');
    const [asking, awake] = [Promise.withResolvers<void>(), Promise.withResolvers<ConnectorStatus>()];
    backend.says = () => {
      asking.resolve();
      return awake.promise;
    };
    const sleeping = resolveDue({ ...openWorker(), connectorTimeoutMs: 10_000 });
    await asking.promise;
    clock.advance(10_000 + 30_000);
    backend.says = { outcome: 'unknown' };
    await resolveDue(openWorker());
    awake.resolve({ outcome: 'unknown' });
    await sleeping;
    clock.advance(10_000 - 1);
    await resolveDue(openWorker());
    expect(backend.asked).toHaveLength(2);
    clock.advance(1);
    await resolveDue(openWorker());
    expect(backend.asked).toHaveLength(3);
  });

  test('a backend that does not answer the question, or is not configured, keeps nobody waiting', async () => {
    const [hanging, gone, fine] = [
      await leave('charge', 'says nothing'),
      await leave('charge', 'says nothing'),
      await leave('charge', 'says nothing'),
    ];
    hanging.backend.says = () => new Promise(() => undefined);
    (module.connectors as Map<string, Connector>).delete(gone.backend.name); // a map of its own
    fine.backend.says = { outcome: 'approved' };
    const worker = openWorker();
    await resolveDue(worker);
    expect(worker.results.filter((result) => result === 'failed')).toHaveLength(2);
    expect(stateOf(await fine.again())).toBe('succeeded');
    expect(hanging.backend.asked).toHaveLength(1);
    expect((await gone.again()).status).toBe(202);
  });

  test('a backend that denies a call once and then knows it is not believed at first', async () => {
    const { backend, again } = await leave('charge', 'says nothing');
    const worker = openWorker();
    backend.says = { outcome: 'absent' };
    await resolveDue(worker);
    clock.advance(absenceMs);
    backend.says = { outcome: 'unknown' };
    await resolveDue(worker);
    clock.advance(absenceMs);
    backend.says = { outcome: 'absent' };
    await resolveDue(worker);
    expect((await again()).status).toBe(202);
    backend.says = { outcome: 'approved' };
    clock.advance(absenceMs);
    await resolveDue(worker);
    expect(stateOf(await again())).toBe('succeeded');
  });

  test('when sapi can not write, the question is put again later', async () => {
    const { backend, again } = await leave('charge', 'says nothing');
    backend.says = { outcome: 'approved' };
    const worker = openWorker();
    await resolveDue({ ...worker, settle: () => Promise.reject(new Error('sapi is away')) });
    expect((await again()).status).toBe(202);
    clock.advance(5_000);
    await resolveDue(worker);
    expect(stateOf(await again())).toBe('succeeded');
  });
});

describe('settling', () => {
  const versionsOf = async (id: Id<'payment'>): Promise<unknown[]> => {
    const { rows } = await sql`
      select kind, actor from journal.entries where object_id = ${toUuid(id)} order by object_version
    `.execute(database.db);
    return rows;
  };

  const operationsOf = async (tenantId: number): Promise<unknown[]> => {
    const { rows } = await sql`
      select id, state, entry_id, settled_at from payments.operations where tenant_id = ${tenantId} order by id
    `.execute(database.db);
    return rows;
  };

  test('whoever comes second changes nothing and gives the same answer, though the payment went on', async () => {
    const { tenant, backend, answer, again } = await leave('charge', 'holds the caller');
    backend.says = { outcome: 'approved' };
    await resolveDue(openWorker());
    const resolved = await again();
    const { id } = paymentIn(resolved);
    await refund(module, as(tenant), id, { body: { amount: '1.00' }, name: 'payments.refund' });
    const settled = await operationsOf(tenant);
    clock.advance(1_000);
    backend.letGo({ outcome: 'approved' });
    expect(await answer).toMatchObject({ status: 201, entry: { id: resolved.entry.id } });
    expect(await operationsOf(tenant)).toEqual(settled);
    expect(await again()).toMatchObject({ entry: { id: resolved.entry.id }, replayed: true });
    expect(await payableOf(tenant)).toBe('9900/0/0');
  });

  test('a backend that gives its answer twice is believed once, also by whoever sent no key', async () => {
    const tenant = newTenant();
    const body = { amount: '100.00', currency: 'USD', payment_method: 'sandbox:duplicate_answer' };
    const { id, status } = paymentIn(await create(module, as(tenant), body));
    expect(status).toBe('succeeded');
    expect(await payableOf(tenant)).toBe('10000/0/0');
    expect(await versionsOf(id)).toHaveLength(2);
  });

  test('an answer that contradicts what was settled changes nothing, and is counted', async () => {
    const { tenant, backend, answer, again } = await leave('charge', 'holds the caller');
    backend.says = { outcome: 'declined', failureCode: 'do_not_honor' };
    await resolveDue(openWorker());
    errors.length = 0;
    backend.letGo({ outcome: 'approved' });
    expect(stateOf(await answer)).toBe('failed');
    expect(stateOf(await again())).toBe('failed');
    expect(errors).toContain('contradicted');
    expect(await payableOf(tenant)).toBe('0/0/0');
  });

  test('a call that is answered while it is asked about is settled once', async () => {
    const { tenant, backend, answer, again } = await leave('charge', 'holds the caller');
    backend.says = async () => {
      backend.letGo({ outcome: 'approved' });
      await answer;
      return { outcome: 'approved' };
    };
    await resolveDue({ ...openWorker(), connectorTimeoutMs: 10_000 });
    expect(stateOf(await again())).toBe('succeeded');
    expect(await payableOf(tenant)).toBe('10000/0/0');
    expect(await versionsOf(paymentIn(await answer).id)).toHaveLength(2);
  });

  test('the journal says that the worker found it out', async () => {
    const { backend, answer } = await leave('charge', 'says nothing');
    backend.says = { outcome: 'approved' };
    await resolveDue(openWorker());
    expect(await versionsOf(paymentIn(await answer).id)).toEqual([
      { kind: 'payment.processing', actor: 'client:test' },
      { kind: 'payment.unknown', actor: 'client:test' },
      { kind: 'payment.succeeded', actor: 'system:worker' },
    ]);
  });

  test('when claiming took longer than the call may, the backend is not called any more', async () => {
    const [tenant, backend] = [newTenant(), openBackend()];
    let reads = 0;
    const now = (): Date => new Date(clock.now().getTime() + (reads++ === 0 ? 0 : callMs));
    const request = { ...dollars, payment_method: backend.name };
    const answer = await create({ ...module, clock: { now } }, as(tenant), request);
    expect(answer.status).toBe(202);
    expect(backend.calls).toEqual([]);
  });
});
