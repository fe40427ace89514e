import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { clientConfig, type ConnectionOptions } from './database.ts';
import { createWake, type Wake } from './wake.ts';

/** One connection that listens for notifications. It comes back by itself; what was missed meanwhile is one ring for everybody. */
export type Listener = AsyncDisposable & {
  /** Rings whenever the channel is notified. */
  wakeOf(channel: string): Wake;
  close(): Promise<void>;
};

type Options = {
  channels: readonly string[];
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  /** Told when listening failed or ended; it is tried again. */
  onLost?: (error: unknown) => void;
};

/** The pause before it connects again, doubled each time. */
const againMs = { first: 100, max: 5_000 };

/** Listens on these channels: names from the code, which are no parameters in SQL. */
export const openListener = (connection: ConnectionOptions, options: Options): Listener => {
  const { channels, applicationName, onLost } = options;
  const closing = new AbortController();
  const wakes = new Map<string, Wake[]>(channels.map((channel) => [channel, []]));
  const ring = (channel: string): void => wakes.get(channel)?.forEach((wake) => wake.ring());

  const listen = async (): Promise<void> => {
    const client = new pg.Client(
      clientConfig({ ...connection, statementTimeoutMs: undefined }, applicationName),
    );
    const ended = once(client, 'end', { signal: closing.signal });
    // Heard below; nobody listens to it while the connection is made.
    ended.catch(() => undefined);
    client.on('error', () => undefined);
    client.on('notification', ({ channel }) => ring(channel));
    try {
      await client.connect();
      await client.query(channels.map((channel) => `listen ${pg.escapeIdentifier(channel)}`).join('; '));
      for (const channel of channels) ring(channel);
      await ended;
      throw new Error('the connection that listens was lost');
    } finally {
      await client.end().catch(() => undefined);
    }
  };

  const keepListening = async (): Promise<void> => {
    for (let failures = 0; !closing.signal.aborted; failures += 1) {
      const startedAtMs = performance.now();
      await listen().catch((error: unknown) => {
        if (!closing.signal.aborted) onLost?.(error);
      });
      if (performance.now() - startedAtMs > againMs.max) failures = 0;
      const pauseMs = Math.min(againMs.first * 2 ** Math.min(failures, 10), againMs.max);
      await wait(pauseMs, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  };

  const listening = keepListening();
  const close = async (): Promise<void> => {
    closing.abort();
    await listening;
  };
  return {
    wakeOf: (channel) => {
      const wake = createWake();
      const others = wakes.get(channel);
      if (!others) throw new Error(`nobody listens to ${channel}`);
      others.push(wake);
      return wake;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
};
