import { refuseOnce, type Answer, type GivenAnswer } from '../journal/idempotency.ts';
import { appendRefusal } from '../journal/journal.ts';
import type { Context } from '../lib/caller.ts';
import type { Json } from '../lib/canonical.ts';
import { AppError } from '../lib/errors.ts';
import type { PaymentsModule } from './module.ts';
import type { Payment } from './payment.ts';
import { openPaymentAccounts, type PaymentAccounts } from './postings.ts';

/** A write on payments: in whose name, and under which Idempotency-Key. */
export type Write = { context: Context; key: string | undefined };

/** A write as its idempotency key sees it. */
export type PaymentRequest = { context: Context; operation: string; key: string | undefined; request: Json };

/** Refusals of money are kept as journal entries and counted; with a key, they are its answer too. */
export const refusing = async (
  module: PaymentsModule,
  request: PaymentRequest,
  run: () => Promise<GivenAnswer>,
): Promise<GivenAnswer> => {
  try {
    const answer = await refuseOnce(module.db, request, run);
    const failure = failureOf(answer);
    if (failure && !answer.replayed) module.countError(failure);
    return answer;
  } catch (error) {
    if (!(error instanceof AppError) || error.replayed) throw error;
    module.countError(error.code);
    if (error.status === 422) {
      const { operation } = request;
      await appendRefusal(module.db, request.context, {
        kind: 'payment.refused',
        snapshot: { operation, code: error.code, detail: error.message },
      });
    }
    throw error;
  }
};

const failureOf = ({ entry }: Answer): string | undefined => {
  const { snapshot } = entry;
  if (snapshot === null || typeof snapshot !== 'object' || !('failure_code' in snapshot)) return undefined;
  return typeof snapshot.failure_code === 'string' ? snapshot.failure_code : undefined;
};

/** The accounts that a payment moves money between, opened on first use. */
export const paymentAccounts = (
  module: PaymentsModule,
  context: Context,
  payment: Payment,
): Promise<PaymentAccounts> => {
  const { tenantId, currency, connector } = payment;
  return openPaymentAccounts(module.db, module.accounts, { tenantId, currency, connector }, context.now);
};

/** The answer of a write that is told by this journal entry. */
export const answered = (status: number, entry: Answer['entry'] | undefined): Answer => {
  if (!entry) throw new Error('a write without a journal entry');
  return { status, entry };
};

/** An answer that was made just now. */
export const given = (answer: Answer): GivenAnswer => ({ ...answer, replayed: false });
