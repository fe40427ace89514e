import type { Bug } from './bug.ts';

const resolverTests = ['server/src/payments/resolver.test.ts'];

/** Calls to payment backends: claim, call, settle, and what became of them. */
export const outsideBugs: readonly Bug[] = [
  {
    name: 'unknown-retried',
    breaks:
      'A call whose outcome is unknown is made again under a new reference: the payer is charged twice.',
    file: 'server/src/payments/operations.ts',
    find: 'const result = await callBackend(module, operation);',
    replace:
      `const first = await callBackend(module, operation); ` +
      `const result = first.outcome === 'unknown' ? await callBackend(module, { ...operation, id: newId('operation') }) : first;`,
    caughtBy: resolverTests,
    filter: 'a charge whose backend says nothing',
  },
  {
    name: 'silence-taken-for-no',
    breaks: 'A call that fails on its way counts as declined, although the backend may have charged.',
    file: 'server/src/payments/operations.ts',
    find: `'Backend call failed, the outcome is unknown');`,
    replace: `'Backend call failed'); return { outcome: 'declined', failureCode: 'backend_error' };`,
    caughtBy: ['server/src/payments/payments.test.ts'],
  },
  {
    name: 'settled-twice',
    breaks: 'An answer that comes twice moves the money twice.',
    file: 'server/src/payments/operations.ts',
    find: 'if (!isNews(standing.state, result)) {',
    replace: `if (!isNews('open', result)) {`,
    caughtBy: resolverTests,
    filter: 'settling',
  },
  {
    name: 'answer-not-settled',
    breaks: 'A key goes on answering 202 although the outcome is known.',
    file: 'server/src/payments/operations.ts',
    find: 'if (key !== undefined) await settleAnswer(',
    replace: 'if (key === undefined) await settleAnswer(',
    caughtBy: resolverTests,
    filter: 'a charge whose backend says nothing',
  },
  {
    name: 'late-call',
    breaks: 'A backend is called after the time in which it is believed that it never was.',
    file: 'server/src/payments/operations.ts',
    find: 'operation.callUntil.getTime() - settleGraceMs - module.clock.now().getTime();',
    replace: 'module.connectorTimeoutMs;',
    caughtBy: resolverTests,
    filter: 'when claiming took longer',
  },
  {
    name: 'first-denial-believed',
    breaks: 'A backend that has not heard of a call yet fails the payment that it charges a second later.',
    file: 'server/src/payments/resolver.ts',
    find: 'const absentSince = operation.absentSince ?? clock.now();',
    replace: 'const absentSince = operation.absentSince ?? new Date(0);',
    caughtBy: resolverTests,
    filter: 'denies a call once',
  },
  {
    name: 'denial-remembered',
    breaks:
      'A backend that denied a call, then did not know, is believed as if it had denied it all the time.',
    file: 'server/src/payments/resolver.ts',
    find: 'await putOff(resolver, operation, undefined);',
    replace: 'await putOff(resolver, operation, operation.absentSince);',
    caughtBy: resolverTests,
    filter: 'denies a call once',
  },
  {
    name: 'asked-by-two',
    breaks: 'Two workers take up the same call.',
    file: 'server/src/payments/operation-store.ts',
    find: 'for no key update skip locked',
    replace: '',
    caughtBy: resolverTests,
    filter: 'two workers at once',
  },
  {
    name: 'lease-lost-unnoticed',
    breaks: 'A worker that slept puts off what another one has taken over.',
    file: 'server/src/payments/operation-store.ts',
    find: ` and asks = \${asks} and state in ('open', 'unknown')`,
    replace: ` and state in ('open', 'unknown')`,
    caughtBy: resolverTests,
    filter: 'wakes up after its lease',
  },
  {
    name: 'declined-refund-holds',
    breaks: 'A refund that its backend declined keeps the money that was set aside for it.',
    file: 'server/src/payments/effects.ts',
    find: `refund: { ...refund, state: 'failed', failureCode, version: refund.version + 1, updatedAt: now },
  ...endOf(refund.holdId, 0n),`,
    replace: `refund: { ...refund, state: 'failed', failureCode, version: refund.version + 1, updatedAt: now },`,
    caughtBy: ['server/src/payments/payments.test.ts'],
  },
];
