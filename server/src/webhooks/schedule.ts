/** `standard` grows from seconds to twelve hours; `guide` is that of guide 001. */
export type ScheduleName = 'standard' | 'guide';

/** 5 s, three times as long each time, half a day at most: fourteen retries reach over three days. */
const standard = { firstMs: 5_000, factor: 3, maxMs: 12 * 3_600_000 };

/** Up to a tenth is added, so that what failed together does not come back together. */
const jitter = 0.1;

/**
 * The time between an attempt that failed and the next one.
 * @param retry counts the retries, from 1
 * @param random from 0 to 1
 */
export const retryDelayMs = (name: ScheduleName, retry: number, random: number = Math.random()): number => {
  // The exponent is bounded before the result is, since two to the power of a thousand is no number of milliseconds.
  const exponent = Math.min(retry, 30);
  const delayMs =
    name === 'guide'
      ? 2 ** exponent * 1_000
      : Math.min(standard.firstMs * standard.factor ** (exponent - 1), standard.maxMs);
  return Math.round(delayMs * (1 + jitter * random));
};

/** A receiver that says when to come back is heeded for a day at most. */
const retryAfterMaxMs = 86_400_000;

/** Reads `Retry-After` (RFC 9110, section 10.2.3): seconds or a date. 0 where there is none, or none that can be read. */
export const retryAfterMs = (field: string | undefined, now: Date): number => {
  if (field === undefined) return 0;
  const text = field.trim();
  const afterMs = /^\d{1,10}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now.getTime();
  return Number.isNaN(afterMs) ? 0 : Math.min(Math.max(afterMs, 0), retryAfterMaxMs);
};
