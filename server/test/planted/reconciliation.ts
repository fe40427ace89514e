import type { Bug } from './bug.ts';

const compareTests = ['server/src/reconciliation/compare.test.ts'];
const correctTests = ['server/src/reconciliation/correct.test.ts'];

/** What is compared with statements of payment backends, and what is corrected because of them. */
export const reconciliationBugs: readonly Bug[] = [
  {
    name: 'correction-twice',
    breaks: 'What differs is corrected once in every reconciliation that finds it.',
    file: 'server/migrations/0016_reconciliation.sql',
    find: 'create unique index corrections_fact',
    replace: 'create index corrections_fact',
    caughtBy: correctTests,
    filter: 'though it is a break of 8 runs',
  },
  {
    name: 'correction-unjournaled',
    breaks: 'The journal entry of a correction does not cover the money that it moved.',
    file: 'server/src/reconciliation/correct.ts',
    find: '      transfer,\n    });',
    replace: '    });',
    caughtBy: correctTests,
    filter: 'of a charge that the backend made twice',
  },
  {
    name: 'statement-of-others',
    breaks: 'Lines of a statement match payments of other vendors.',
    file: 'server/functions/reconciliation/movements_here.sql',
    find: 'where p.tenant_id = tenant and p.connector = backend\n    and not exists',
    replace: 'where p.connector = backend\n    and not exists',
    caughtBy: compareTests,
    filter: 'payments of another tenant never match',
  },
  {
    name: 'second-charge-unseen',
    breaks: 'A charge that the backend made twice counts as one that agrees.',
    file: 'server/functions/reconciliation/results_of.sql',
    find: "when p.again then 'duplicate'",
    replace: "when p.again then 'matched'",
    caughtBy: compareTests,
    filter: 'what differs',
  },
  {
    name: 'statement-read-in-part',
    breaks: 'Lines that can not be read are passed over, and the rest is taken for the whole.',
    file: 'server/src/reconciliation/statement.ts',
    find: 'if (faults.length > 0) continue;',
    replace: 'faults.length = 0;',
    caughtBy: ['server/src/reconciliation/statement.test.ts', ...compareTests],
  },
];
