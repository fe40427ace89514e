import { elapsedMs, type Clock } from '../lib/clock.ts';

/**
 * Answers that may be used again for a stated time, at most so many of them. The least recently used one goes first.
 * What was revoked while it was being looked up is given to whoever asked, but not kept.
 */
export type AgedCache<Value> = {
  /** A kept answer that is still fresh. */
  peek(key: string): Value | undefined;
  /** The kept answer, or that of `load`, which runs once however many ask for the same key at the same time. */
  through(key: string, load: () => Promise<Value>): Promise<Value>;
  keep(key: string, value: Value): void;
  /** Forgets every answer that matches, and every lookup under way. */
  drop(matches: (key: string, value: Value) => boolean): void;
};

type Bounds<Value> = {
  clock: Clock;
  maxAgeMs: number;
  maxEntries: number;
  /** When one answer ends before its age does. */
  untilOf?: (value: Value) => Date | undefined;
  /** Before when one answer does not count: the clock was put back since. */
  sinceOf?: (value: Value) => Date;
};

/** How old an answer is does not depend on the time of day, which may be set. */
type Kept<Value> = { value: Value; keptAtMs: number };

/** An in-process cache; what it keeps is never the only copy. */
export const agedCache = <Value>({
  clock,
  maxAgeMs,
  maxEntries,
  untilOf,
  sinceOf,
}: Bounds<Value>): AgedCache<Value> => {
  const kept = new Map<string, Kept<Value>>();
  const underWay = new Map<string, Promise<Value>>();

  const counts = ({ value, keptAtMs }: Kept<Value>): boolean => {
    if (elapsedMs(clock) >= keptAtMs + maxAgeMs) return false;
    const [since, until] = [sinceOf?.(value), untilOf?.(value)];
    if (!since && !until) return true;
    const now = clock.now();
    return (!since || since <= now) && (!until || until > now);
  };

  const fresh = (key: string): Kept<Value> | undefined => {
    const entry = kept.get(key);
    if (!entry) return undefined;
    kept.delete(key);
    if (!counts(entry)) return undefined;
    kept.set(key, entry); // a Map keeps the order of insertion: the most recently used comes last
    return entry;
  };

  const keep = (key: string, value: Value): void => {
    const oldest = kept.size >= maxEntries && !kept.has(key) ? kept.keys().next().value : undefined;
    if (oldest !== undefined) kept.delete(oldest);
    kept.set(key, { value, keptAtMs: elapsedMs(clock) });
  };

  const lookUp = async (key: string, load: () => Promise<Value>): Promise<Value> => {
    const loading = load();
    underWay.set(key, loading);
    try {
      const value = await loading;
      if (underWay.get(key) === loading) keep(key, value);
      return value;
    } finally {
      if (underWay.get(key) === loading) underWay.delete(key);
    }
  };

  return {
    peek: (key) => fresh(key)?.value,
    through: async (key, load) => {
      const entry = fresh(key);
      return entry ? entry.value : (underWay.get(key) ?? lookUp(key, load));
    },
    keep,
    drop: (matches) => {
      underWay.clear();
      for (const [key, { value }] of kept) if (matches(key, value)) kept.delete(key);
    },
  };
};
