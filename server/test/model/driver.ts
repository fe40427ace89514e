import type { GivenAnswer } from '../../src/journal/idempotency.ts';
import type { Context } from '../../src/lib/caller.ts';
import { AppError } from '../../src/lib/errors.ts';
import type { Id } from '../../src/lib/ids.ts';
import { formatAmount } from '../../src/lib/money.ts';
import { create } from '../../src/payments/create.ts';
import type { PaymentsModule } from '../../src/payments/module.ts';
import { cancel, capture, refund } from '../../src/payments/payments.ts';
import { payOut } from '../setup/api.ts';
import type { KnownCall } from './answers.ts';
import { accountOf } from './books.ts';
import { newTenant, operationOf, type Answer, type Command, type Tenant } from './commands.ts';
import { statesAfter } from './linearize.ts';
import { poisonous } from './poison.ts';
import type { Plan, TenantPlan } from './requests.ts';

/** A tenant that is being driven: everything it asked for, and all the model states that fit the answers so far. */
export type Driven = {
  states: readonly Tenant[];
  calls: KnownCall[];
};

type Sent = { command: Command; answer: Answer; snapshot: Snapshot };
type Snapshot = Readonly<Record<string, unknown>>;

/**
 * Sends a tenant's requests to the real code, a round at a time, and the model after them.
 * @param processes served by turns, so that requests of one round meet in the database only
 * @throws Error naming a round whose answers fit no order
 */
export const drive = async (
  processes: readonly PaymentsModule[],
  context: Context,
  { terms, rounds }: TenantPlan,
): Promise<Driven> => {
  let states: readonly Tenant[] = [newTenant(terms)];
  const commands: Command[] = [];
  const payments = new Map<string, bigint>();
  const calls = new Map<string, KnownCall & { answers: { status: number; body: Snapshot }[] }>();
  for (const round of rounds) {
    const spendable = states[0] ? spendableIn(states[0]) : 0n;
    const sent = await Promise.all(
      round
        .flatMap((plan) => {
          const command = commandOf(plan, {
            commands,
            payments: [...payments],
            tenantId: context.tenantId,
            spendable,
          });
          if (command) commands.push(command);
          return command ?? [];
        })
        .map((command, turn) => send(processes[turn % processes.length], context, command)),
    );
    const next = statesAfter(states, sent);
    if (next.length === 0) throw new Error(`no order of these fits the model:\n${sent.map(line).join('\n')}`);
    states = next;
    for (const { command, answer, snapshot } of sent) {
      if (command.verb === 'create' && answer.status < 300) payments.set(command.id, command.amount);
      if (command.key === undefined) continue;
      const [operation, { key }, { tenantId }] = [operationOf(command), { key: command.key }, context];
      const call = calls.get(`${operation} ${key}`) ?? { tenantId, operation, key, answers: [] };
      call.answers.push({ status: answer.status, body: snapshot });
      calls.set(`${operation} ${key}`, call);
    }
  }
  return { states, calls: [...calls.values()] };
};

type Known = {
  commands: readonly Command[] /** By id, with their amount. */;
  payments: readonly (readonly [string, bigint])[];
  tenantId: number;
  /** What the vendor may spend. */
  spendable: bigint;
};

const spendableIn = ({ books }: Tenant): bigint => {
  const { posted, reserved } = accountOf(books, 'USD', 'payable');
  return posted - reserved;
};

/** A plan about what there is by now; nothing where it would be about nothing. */
const commandOf = (plan: Plan, { commands, payments, tenantId, spendable }: Known): Command | undefined => {
  const name = `${tenantId}-${commands.length}`;
  if (plan.verb === 'again') {
    const earlier = commands[plan.of % Math.max(1, commands.length)];
    return earlier && renamed(plan.isAltered ? altered(earlier) : earlier, name);
  }
  if (plan.verb === 'pay out') {
    const amount = (spendable * BigInt(plan.percent)) / 100n;
    return amount > 0n ? { verb: 'pay out', amount } : undefined;
  }
  const key = plan.hasKey ? `key-${name}` : undefined;
  if (plan.verb === 'create') return { ...plan, key, id: `payment-${name}` };
  const [id, asked = 0n] = payments[plan.target % Math.max(1, payments.length)] ?? [];
  if (id === undefined) return undefined;
  if (plan.verb === 'cancel') return { verb: 'cancel', key, id };
  const amount = plan.percent === undefined ? undefined : (asked * BigInt(plan.percent)) / 100n + 1n;
  if (plan.verb === 'capture') return { verb: 'capture', key, id, amount };
  return { verb: 'refund', key, id, amount, isRest: plan.isRest, refundId: `refund-${name}` };
};

/** What it makes, if it makes something, is something new. */
const renamed = (command: Command, name: string): Command => {
  if (command.verb === 'create') return { ...command, id: `payment-${name}` };
  return command.verb === 'refund' ? { ...command, refundId: `refund-${name}` } : command;
};

const altered = (command: Command): Command =>
  command.verb === 'cancel' ? command : { ...command, amount: (command.amount ?? 0n) + 1n };

/** Sends one command. It comes back with the ids that the database gave. */
const send = async (
  module: PaymentsModule | undefined,
  context: Context,
  command: Command,
): Promise<Sent> => {
  try {
    const answer = module && (await run(module, context, command));
    if (!answer) return { command, answer: { status: 200 }, snapshot: {} };
    const snapshot = answer.entry.snapshot as Snapshot; // of payments and refunds: their public form
    return {
      command: found(command, snapshot),
      answer: { status: answer.status, fields: fieldsOf(snapshot) },
      snapshot,
    };
  } catch (error) {
    const [status, code] = error instanceof AppError ? [error.status, error.code] : [500, 'internal_error'];
    return { command, answer: { status, code }, snapshot: { code } };
  }
};

const run = async (
  module: PaymentsModule,
  context: Context,
  command: Command,
): Promise<GivenAnswer | undefined> => {
  const write = { context, key: command.key };
  if (command.verb === 'pay out') {
    await payOut(module.db, context.tenantId, command.amount);
    return undefined;
  }
  if (command.verb === 'create') return create(module, write, bodyOf(command));
  const id = command.id as Id<'payment'>; // the database gave it
  if (command.verb === 'cancel') return cancel(module, write, id);
  const amount = command.amount === undefined ? {} : { amount: formatAmount(command.amount, 'USD') };
  if (command.verb === 'capture') return capture(module, write, id, amount);
  const reason = command.key === undefined ? {} : { reason: command.key };
  const name = command.isRest ? 'payments.refund_rest' : 'payments.refund';
  return refund(module, write, id, { body: { ...amount, ...reason }, name });
};

const bodyOf = ({ amount, capture, method, isPoison, key }: Command & { verb: 'create' }) => ({
  amount: formatAmount(amount, 'USD'),
  currency: 'USD',
  payment_method: method,
  capture,
  ...(key !== undefined && { reference: key }),
  ...(isPoison && { metadata: poisonous }),
});

const found = (command: Command, { id }: Snapshot): Command => {
  if (command.verb === 'create') return { ...command, id: String(id) };
  return command.verb === 'refund' && !command.isRest ? { ...command, refundId: String(id) } : command;
};

const compared = {
  payment: ['currency', 'amount_captured_minor', 'amount_refunded_minor', 'fee_minor'],
  refund: ['payment_id', 'fee_returned_minor'],
};

/** Of an answer what the model knows too. */
const fieldsOf = (snapshot: Snapshot): Record<string, string> => {
  const own = compared[snapshot['object'] === 'refund' ? 'refund' : 'payment'];
  return Object.fromEntries(
    ['status', 'version', 'amount_minor', ...own].map((field) => [field, String(snapshot[field])]),
  );
};

const line = ({ command, answer }: Sent): string =>
  JSON.stringify({ ...command, answer }, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}` : value,
  );
