import { setTimeout as wait } from 'node:timers/promises';
import { currentDryRun } from './dry-run.ts';

/**
 * Tells others that there is something new, after it was committed: `pg_notify` in a statement of its own. Notifications in the
 * transactions of writers would make these commit one after the other. Whoever listens looks now and then anyway, so a ring
 * that is lost costs a moment and nothing else.
 */
export type Bell = {
  /** Does not wait. Rings that come close together are one. */
  ring(): void;
  /** Waits for the ring that is under way. */
  close(): Promise<void>;
};

/** @param notify runs outside of any transaction, one at a time and never more often than every `pauseMs` */
export const openBell = (
  notify: () => Promise<unknown>,
  {
    pauseMs = 5,
    onFailure = () => undefined,
  }: { pauseMs?: number; onFailure?: (error: unknown) => void } = {},
): Bell => {
  let isWanted = false;
  let isClosed = false;
  let ringing: Promise<void> | undefined;

  const ringOn = async (): Promise<void> => {
    for (;;) {
      isWanted = false;
      await notify().catch(onFailure);
      await wait(pauseMs);
      if (!isWanted || isClosed) break;
    }
    ringing = undefined;
  };

  return {
    ring: () => {
      // What is taken back is nothing new.
      if (isClosed || currentDryRun()) return;
      isWanted = true;
      ringing ??= ringOn();
    },
    close: async () => {
      isClosed = true;
      await ringing;
    },
  };
};

/** Rung after journal entries were committed: they wait for their position. */
export const entriesChannel = 'florin_entries';

/** Notified by the sequencer, in its transaction: entries have got their positions. */
export const sealedChannel = 'florin_sealed';
