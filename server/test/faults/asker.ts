import { setTimeout as wait } from 'node:timers/promises';
import { send, type Answer } from '../../src/services/testing.ts';
import type { Vendor } from '../crash/calls.ts';
import type { KnownAnswer, KnownCall } from '../model/answers.ts';

/** What a write was answered until it was done: the last answer says so, those before it are refusals of another kind. */
export type Told = { last: Answer; before: readonly Answer[] };

/** A client that asks for one thing, again and again with the same key, and looks at everything it is told. */
export type Asker = {
  /** Takes a payment in our own books, which travels in a batch. */
  pay(): Promise<Told>;
  /** Refunds one cent of a payment, in a transaction of its own. */
  refund(payment: Told): Promise<Told>;
  /** One attempt, with a new key; nothing is repeated. */
  tryPay(): Promise<Attempt>;
  /** Everything asked for, for the model. */
  calls: readonly KnownCall[];
};

export type Attempt = {
  answer: Answer;
  /** Asks again until it is done. */
  again(): Promise<Told>;
};

/** Longer than any time limit of the services. */
const patienceMs = 60_000;

export const openAsker = (url: string, vendor: Vendor): Asker => {
  const calls: (KnownCall & { answers: KnownAnswer[] })[] = [];

  const newCall = (operation: string): KnownCall & { answers: KnownAnswer[] } => {
    const call = { tenantId: vendor.tenantId, operation, key: `asked-${calls.length}`, answers: [] };
    calls.push(call);
    return call;
  };
  type Wanted = { call: ReturnType<typeof newCall>; path: string; json: object };

  const ask = async ({ call, path, json }: Wanted): Promise<Answer> => {
    const headers = { 'x-api-key': 'test-key', 'florin-vendor': vendor.slug, 'idempotency-key': call.key };
    const answer = await send(`${url}/api/v1${path}`, { method: 'POST', headers, json });
    const { request_id: _, ...body } = answer.body;
    call.answers.push({ status: answer.status, body });
    return answer;
  };
  const settle = async (wanted: Wanted, before: Answer[] = []): Promise<Told> => {
    const giveUpAt = performance.now() + patienceMs;
    for (;;) {
      const answer = await ask(wanted);
      if (answer.status < 300) return { last: answer, before };
      assertPassing(answer);
      before.push(answer);
      if (performance.now() > giveUpAt) throw new Error(`still ${textOf(answer)}`);
      await wait(100);
    }
  };
  const payment = (): Wanted => {
    const call = newCall('payments.create');
    return { call, path: '/payments', json: { amount: '10.00', currency: 'USD', reference: call.key } };
  };
  return {
    calls,
    pay: () => settle(payment()),
    refund: ({ last }) => {
      const call = newCall('payments.refund');
      const path = `/payments/${String(last.body['id'])}/refunds`;
      return settle({ call, path, json: { amount: '0.01', reason: call.key } });
    },
    tryPay: async () => {
      const wanted = payment();
      const answer = await ask(wanted);
      if (answer.status >= 300) assertPassing(answer);
      return { answer, again: () => settle(wanted) };
    },
  };
};

/** A request whose outcome is not known is answered 503 with the time to come again, and nothing else. */
const assertPassing = (answer: Answer): void => {
  const { status, headers, body } = answer;
  const isKnown = status === 503 || (status === 409 && body['code'] === 'request_in_flight');
  if (!isKnown || !/^\d+$/.test(headers.get('retry-after') ?? '')) {
    throw new Error(`a fault was answered ${textOf(answer)}, Retry-After ${headers.get('retry-after')}`);
  }
};

const textOf = ({ status, body }: Answer): string => `${status} ${JSON.stringify(body)}`;
