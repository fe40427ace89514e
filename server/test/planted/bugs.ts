import { accessBugs } from './access.ts';
import type { Bug } from './bug.ts';
import { idempotencyBugs } from './idempotency.ts';
import { journalBugs } from './journal.ts';
import { moneyBugs } from './money.ts';
import { outsideBugs } from './outside.ts';
import { reconciliationBugs } from './reconciliation.ts';
import { webhookBugs } from './webhooks.ts';

export const plantedBugs: readonly Bug[] = [
  ...moneyBugs,
  ...idempotencyBugs,
  ...outsideBugs,
  ...accessBugs,
  ...journalBugs,
  ...reconciliationBugs,
  ...webhookBugs,
];
