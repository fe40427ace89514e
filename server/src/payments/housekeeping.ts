import { sql } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import type { Db } from '../lib/database.ts';
import type { Schedule } from '../lib/schedules.ts';
import { removeBy, sweep } from '../lib/sweep.ts';

type Parts = { db: Db; clock: Clock; retention: Pick<Config['retention'], 'idempotencyKeysH'> };

const hourMs = 3_600_000;

/** Longer than any backend repeats a message: Stripe does for three days. */
const callbacksH = 7 * 24;

/** Idempotency keys and messages of backends that are removed when they are too old. */
export const paymentSchedules = ({ db, clock, retention }: Parts): Schedule[] => {
  const hoursAgo = (hours: number): Date => new Date(clock.now().getTime() - hours * hourMs);
  return [
    {
      name: 'idempotency-keys',
      everyMs: hourMs,
      limitMs: 6 * hourMs,
      run: (signal) => {
        const before = hoursAgo(retention.idempotencyKeysH);
        return sweep(db, signal, (pages) => sql`journal.expire_keys(${before}, ${pages})`);
      },
    },
    {
      name: 'backend-callbacks',
      everyMs: hourMs,
      limitMs: hourMs,
      run: () => removeBy(db, sql`payments.remove_callbacks(${hoursAgo(callbacksH)})`),
    },
  ];
};
