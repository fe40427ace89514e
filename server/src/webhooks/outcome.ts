import type { OutboundAnswer, OutboundError } from '../lib/outbound/outbound.ts';
import { retryAfterMs, retryDelayMs, type ScheduleName } from './schedule.ts';

/** What came of one attempt: what becomes of the delivery, and why. */
export type Outcome = {
  state: 'delivered' | 'pending' | 'failed';
  /** When to try again; of what has ended, when it did. */
  dueAt: Date;
  status: number | undefined;
  /** For the vendor's eyes. */
  error: string | undefined;
  /** The receiver says that it is gone for good (410). */
  isGone: boolean;
};

export type Retries = { schedule: ScheduleName; retryMax: number };

type Tried = {
  /** How often it was tried since it was last set to pending, this time included. */
  attempts: number;
  now: Date;
  random?: number;
};

/**
 * Standard Webhooks: 2xx is success and nothing else is; a redirect is not followed; 410 ends it. Everything else is tried again
 * until the retries are used up, not before the receiver's `Retry-After`.
 */
export const outcomeOf = (
  answer: Pick<OutboundAnswer, 'status' | 'headers'> | OutboundError,
  { attempts, now, random }: Tried,
  { schedule, retryMax }: Retries,
): Outcome => {
  const status = 'status' in answer ? answer.status : undefined;
  const common = { status, error: undefined, isGone: false, dueAt: now };
  if (status !== undefined && status >= 200 && status < 300) return { ...common, state: 'delivered' };
  const error = 'status' in answer ? refusalOf(answer.status) : answer.message;
  if (status === 410) return { ...common, state: 'failed', error, isGone: true };
  if (attempts > retryMax) return { ...common, state: 'failed', error };
  const afterMs = 'status' in answer ? retryAfterMs(answer.headers['retry-after'], now) : 0;
  const delayMs = Math.max(retryDelayMs(schedule, attempts, random), afterMs);
  return { ...common, state: 'pending', error, dueAt: new Date(now.getTime() + delayMs) };
};

const refusalOf = (status: number): string => {
  if (status === 410) return 'the receiver answered 410: it is gone';
  if (status >= 300 && status < 400) return `the receiver answered ${status}: redirects are not followed`;
  return `the receiver answered ${status}`;
};
