import type { Bug } from './bug.ts';

const keyTests = ['server/src/payments/idempotency.test.ts'];
const writerTests = ['server/src/payments/writer.test.ts'];
const raceTests = ['server/test/races.test.ts'];

/** One key, one effect, one answer. */
export const idempotencyBugs: readonly Bug[] = [
  {
    name: 'acknowledged-before-commit',
    breaks: 'A payment is answered before its transaction is committed, and whether it ever is.',
    file: 'server/src/payments/writer.ts',
    find: 'run: (writes) => writeBatch(pipeline, clock, writes),',
    replace: `run: async (writes) => (void writeBatch(pipeline, clock, writes).catch(() => undefined), writes.map(() => 'created')),`,
    caughtBy: writerTests,
    filter: 'duplicates, replays',
  },
  {
    name: 'key-not-unique',
    breaks: 'Equal requests that arrive at once each take the key.',
    file: 'server/migrations/0002_journal.sql',
    find: 'primary key (tenant_id, operation, key),',
    replace: '',
    caughtBy: keyTests,
  },
  {
    name: 'path-not-hashed',
    breaks: 'A key that was used for one payment answers for another one.',
    file: 'server/src/payments/payments.ts',
    find: 'const request = { context, operation: name, key, request: target };',
    replace: 'const request = { context, operation: name, key, request: target.body };',
    caughtBy: keyTests,
  },
  {
    name: 'body-not-compared',
    breaks: 'A key that was used with one body answers for another body.',
    file: 'server/src/journal/idempotency.ts',
    find: 'if (!row.request_hash.equals(requestHash(request.request))) {',
    replace: 'if (row.request_hash.length === 0) {',
    caughtBy: keyTests,
  },
  {
    name: 'keys-across-tenants',
    breaks: 'The key of one tenant is answered with what another one did under it.',
    file: 'server/src/journal/idempotency.ts',
    find: 'where k.tenant_id = ${request.context.tenantId} and k.operation = ${request.operation}',
    replace: 'where k.operation = ${request.operation}',
    caughtBy: keyTests,
  },
  {
    name: 'key-outside-transaction',
    breaks: 'A key is stored whether or not its effect is.',
    file: 'server/src/journal/idempotency.ts',
    find: 'if (!(await storeAnswer(tx, keyed, made))) throw new KeyTaken();',
    replace: 'if (!(await storeAnswer(db, keyed, made))) throw new KeyTaken();',
    caughtBy: raceTests,
    filter: 'on one process equal keys, POST /payments with a new customer',
  },
  {
    name: 'repeated-key-unnoticed',
    breaks: 'A repeated key in a batch posts its money again.',
    file: 'server/functions/journal/claim_keys.sql',
    find: 'if taken = cardinality(array_remove(keys, null)) then',
    replace: 'if taken >= 0 then',
    caughtBy: writerTests,
    filter: 'duplicates, replays',
  },
  {
    name: 'refusal-forgotten',
    breaks: 'A refusal is no answer of its key: repeated later, the request may move money.',
    file: 'server/src/journal/idempotency.ts',
    find: 'if (!(error instanceof AppError) || error.replayed || !isAnswer(error)) throw error;',
    replace: 'throw error;',
    caughtBy: keyTests,
  },
  {
    name: 'refused-key-kept',
    breaks: 'The key of a payment that the ledger refused answers that it was made.',
    file: 'server/functions/payments/create_batch.sql',
    find: 'perform journal.refuse_keys(tenant_ids, operations, keys, (',
    replace: `perform journal.refuse_keys(tenant_ids, operations, array_fill(''::text, array[cardinality(keys)]), (`,
    caughtBy: writerTests,
    filter: 'duplicates, replays',
  },
  {
    name: 'in-flight-answered',
    breaks: 'While a backend is still asked, a repeated request is told that this is the answer.',
    file: 'server/src/journal/idempotency.ts',
    find: 'if (row.open_until && row.open_until > request.context.now) {',
    replace: 'if (row.open_until && row.open_until < request.context.now) {',
    caughtBy: keyTests,
  },
];
