import { appendEntries } from '../journal/journal.ts';
import { makeEntry, type JournalEntry } from '../journal/entry.ts';
import type { Context } from '../lib/caller.ts';
import type { Tx } from '../lib/database.ts';
import { endHold, lockAccounts, placeHold, post } from '../ledger/ledger.ts';
import type { Effect } from './effects.ts';
import { paymentSnapshot, refundSnapshot, type Payment, type Refund } from './payment.ts';
import type { PaymentAccounts } from './postings.ts';
import { insertPayment, insertRefund, updatePayment, updateRefund } from './store.ts';

/** The journal entries of one effect: of the payment, of the refund, whichever changed. */
export type Applied = { payment?: JournalEntry; refund?: JournalEntry };

/**
 * Writes an effect: money, objects and journal in the caller's transaction, which holds the lock of the payment.
 * An object of version 0 is a draft and is inserted.
 * @throws AppError `insufficient_funds` or `balance_overflow`; the transaction must roll back then
 */
export const applyEffect = async (
  tx: Tx,
  context: Context,
  before: { payment: Payment; refund?: Refund },
  accounts: PaymentAccounts,
  planned: Effect,
): Promise<Applied> => {
  const effect = await moveMoney(tx, accounts, planned, context.now);
  if (effect.payment) {
    if (before.payment.version === 0) await insertPayment(tx, effect.payment);
    else await updatePayment(tx, before.payment, effect.payment);
  }
  if (effect.refund) {
    if (before.refund?.version === 0) await insertRefund(tx, effect.refund);
    else await updateRefund(tx, effect.refund);
  }
  const entries = entriesOf(context, before.payment, effect);
  await appendEntries(tx, Object.values(entries));
  return entries;
};

const moveMoney = async (tx: Tx, accounts: PaymentAccounts, effect: Effect, now: Date): Promise<Effect> => {
  if (effect.hold || effect.endedHold || effect.transfer) await lockAccounts(tx, Object.values(accounts));
  if (effect.endedHold) {
    const { id, capturedMinor: amountMinor } = effect.endedHold;
    const capturedBy =
      amountMinor > 0n && effect.transfer ? { amountMinor, transferId: effect.transfer.id } : undefined;
    await endHold(tx, id, capturedBy, now);
  }
  if (effect.transfer) await post(tx, effect.transfer, now);
  if (!effect.hold) return effect;
  const holdId = await placeHold(tx, effect.hold, now);
  if (effect.refund) return { ...effect, refund: { ...effect.refund, holdId } };
  return effect.payment ? { ...effect, payment: { ...effect.payment, holdId } } : effect;
};

/** One entry per changed object. The transfer belongs to the refund where there is one, else to the payment. */
export const entriesOf = (context: Context, payment: Payment, effect: Effect): Applied => {
  const entries: Applied = {};
  if (effect.refund) {
    entries.refund = makeEntry(context, {
      kind: `refund.${effect.refund.state}`,
      object: { type: 'refund', id: effect.refund.id, version: effect.refund.version },
      snapshot: refundSnapshot(payment, effect.refund),
      transfer: effect.transfer,
    });
  }
  if (effect.payment) {
    entries.payment = makeEntry(context, {
      kind: `payment.${effect.payment.state}`,
      object: { type: 'payment', id: effect.payment.id, version: effect.payment.version },
      snapshot: paymentSnapshot(effect.payment),
      transfer: effect.refund ? undefined : effect.transfer,
    });
  }
  return entries;
};
