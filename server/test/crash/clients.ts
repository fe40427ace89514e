import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { KnownAnswer } from '../model/answers.ts';
import { alteredCall, nextCall, type Call, type Paid, type Vendor } from './calls.ts';
import { chosen, randomFrom } from './schedule.ts';

/** What clients did and saw. */
export type Tally = {
  /** Requests sent, those of them that repeat another, and answers by status and code. */
  sent: number;
  repeated: number;
  answers: Map<string, number>;
};

export type Clients = {
  calls: readonly Call[];
  tally: Tally;
  /** Faults that a client sees by itself. */
  faults: readonly string[];
  /** Resolves when so many more calls have been answered; false when that takes too long. */
  answered(count: number, patienceMs: number): Promise<boolean>;
  /** Asks for nothing new; ends when everything asked for has its answer. */
  finish(): Promise<void>;
  /** Asks again for these calls, each until it is answered. */
  askAgain(calls: readonly Call[]): Promise<void>;
  /** Gives up what has no answer yet. */
  abandon(): void;
};

type Options = { url: string; vendors: readonly Vendor[]; seed: number; clients: number; pauseMs: number };

/** How many calls of one client may wait for their answer. */
const openMax = 6;

/** Starts clients that ask for payments and changes of them, and ask again with the same key until they are answered. */
export const startClients = ({ url, vendors, seed, clients, pauseMs }: Options): Clients => {
  const calls: Call[] = [];
  const faults: string[] = [];
  const tally: Tally = { sent: 0, repeated: 0, answers: new Map() };
  const waiting = new Set<{ left: number; resolve(isDone: boolean): void }>();
  const [finishing, abandoned] = [new AbortController(), new AbortController()];

  const note = (call: Call, answer: KnownAnswer): void => {
    // Kept once where it says the same, which it should.
    const same = call.answers.find((earlier) => isDeepStrictEqual(earlier, answer));
    if (!same) call.answers.push(answer);
    for (const waiter of waiting) if ((waiter.left -= 1) <= 0) waiter.resolve(true);
  };

  /** Sends until there is an answer. What a dying process leaves unanswered is sent again, with the same key. */
  const ask = async (call: Call, isRepeat: boolean): Promise<KnownAnswer> => {
    for (let attempt = 0; !abandoned.signal.aborted; attempt += 1) {
      tally.sent += 1;
      if (isRepeat || attempt > 0) tally.repeated += 1;
      const answer = await send(url, call);
      const name = answer ? nameOf(call, answer) : 'no answer';
      tally.answers.set(name, (tally.answers.get(name) ?? 0) + 1);
      if (answer && isFinal(call, answer)) return answer;
      await wait(name === '409 request_in_flight' ? 200 : 60 + Math.min(attempt, 10) * 60);
    }
    throw new Error(`${call.operation} with key ${call.key} was never answered`);
  };
  const settle = async (call: Call, isRepeat: boolean): Promise<KnownAnswer> => {
    const answer = await ask(call, isRepeat);
    note(call, answer);
    return answer;
  };

  const client = async (index: number): Promise<void> => {
    const random = randomFrom(seed * 1_000 + index);
    const known = new Map(vendors.map(({ slug }) => [slug, [] as Paid[]]));
    const open = new Set<Promise<void>>();
    for (let made = 0; !finishing.signal.aborted; made += 1) {
      const vendor = chosen(random, vendors);
      const payments = known.get(vendor.slug) ?? [];
      const call = nextCall(random, { vendor, key: `${seed}-${index}-${made}`, payments });
      calls.push(call);
      const whims = { isTwice: random() < 0.1, isAgain: random() < 0.15, isReused: random() < 0.04 };
      const done = live(call, whims, payments).catch((error: unknown) => void faults.push(String(error)));
      open.add(done);
      void done.finally(() => open.delete(done));
      if (open.size >= openMax) await Promise.race(open);
      // In bursts, so that batches have several.
      if (random() < 0.4) await wait(random() * pauseMs);
    }
    await Promise.all(open);
  };

  type Whims = { isTwice: boolean; isAgain: boolean; isReused: boolean };
  const live = async (call: Call, { isTwice, isAgain, isReused }: Whims, known: Paid[]): Promise<void> => {
    const [answer] = await Promise.all([settle(call, false), ...(isTwice ? [settle(call, true)] : [])]);
    learn(known, answer);
    if (isAgain) learn(known, await settle(call, true));
    if (!isReused || call.isPoison || answer.status === 404 || answer.status === 400) return;
    const reused = await ask(alteredCall(call), true);
    const isTold = reused.body['code'] === 'idempotency_key_reused';
    if (!isTold && call.operation !== 'payments.cancel')
      faults.push(
        `${call.operation} with key ${call.key}: another body was answered ${nameOf(call, reused)}`,
      );
  };

  const running = Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  return {
    calls,
    tally,
    faults,
    answered: async (left, patienceMs) => {
      if (left <= 0) return true;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const waiter = { left, resolve };
      waiting.add(waiter);
      const patience = setTimeout(() => resolve(false), patienceMs);
      const isDone = await promise;
      clearTimeout(patience);
      waiting.delete(waiter);
      return isDone;
    },
    abandon: () => {
      finishing.abort();
      abandoned.abort();
    },
    finish: async () => {
      finishing.abort();
      await running;
    },
    askAgain: async (again) => {
      const left = [...again];
      const one = async (): Promise<void> => {
        for (let call = left.pop(); call; call = left.pop()) await settle(call, true);
      };
      await Promise.all(Array.from({ length: 16 }, one));
    },
  };
};

/** A request is given up after this; whether it was done is then unknown. */
const requestTimeoutMs = 5_000;

const send = async (
  url: string,
  { vendor, method, path, key, body }: Call,
): Promise<KnownAnswer | undefined> => {
  const headers = {
    'x-api-key': 'test-key',
    'florin-vendor': vendor.slug,
    'idempotency-key': key,
    'content-type': 'application/json',
  };
  try {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    const { request_id: _, ...told } = (await response.json()) as KnownAnswer['body'];
    return { status: response.status, body: told };
  } catch {
    return undefined;
  }
};

/** Answers that ask to be asked again. A poisonous row is nobody's fault but its own. */
const isFinal = (call: Call, { status, body }: KnownAnswer): boolean => {
  if (call.isPoison && body['code'] === 'internal_error') return true;
  return status < 500 && status !== 429 && body['code'] !== 'request_in_flight';
};

const nameOf = ({ isPoison }: Call, { status, body }: KnownAnswer): string => {
  if (status < 300) return String(status);
  return `${status} ${isPoison && status === 500 ? 'of a poisonous row' : String(body['code'])}`;
};

/** How many of its payments a client remembers. */
const rememberedMax = 40;

const learn = (known: Paid[], { status, body }: KnownAnswer): void => {
  if (status >= 300 || body['object'] !== 'payment') return;
  const paid = {
    id: String(body['id']),
    status: String(body['status']),
    currency: String(body['currency']),
    amountMinor: BigInt(String(body['amount_minor'])),
  };
  const index = known.findIndex(({ id }) => id === paid.id);
  if (index >= 0) known[index] = paid;
  else known.push(paid);
  if (known.length > rememberedMax) known.shift();
};
