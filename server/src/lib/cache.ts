import { createRequire } from 'node:module';
import type * as Redis from 'redis';
import type { Logger } from 'pino';
import { elapsedMs, type Clock } from './clock.ts';
import type { Secret } from './secret.ts';

export type CacheState = 'connected' | 'disconnected' | 'not configured';

/**
 * A place for what can be lost at any time: nothing here is the only copy. Without Redis it lives in the process.
 * No method throws: a Redis that is away or slow is a miss, and says so in `state`.
 */
export type Cache = {
  get(key: string): Promise<string | undefined>;
  /** Keeps a value for `ttlMs` at most. */
  set(key: string, value: string, options: { ttlMs: number }): Promise<void>;
  delete(key: string): Promise<void>;
  /** Tells every process that listens on this channel; one that is away does not hear of it later. */
  publish(channel: string, message: string): Promise<void>;
  /** Hears what any process publishes from now on. */
  subscribe(channel: string, listen: (message: string) => void): Promise<void>;
  /** As far as known without asking. */
  state(): CacheState;
  /** Asks Redis, for health answers. */
  probe(): Promise<CacheState>;
  /** Where rate limits count together with other processes; absent in process. */
  counters: Counters | undefined;
  close(): Promise<void>;
};

/** The one command that `rate-limiter-flexible` needs of Redis; rejects at once when Redis is away. */
export type Counters = {
  readonly isReady: boolean;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
};

type RedisSettings = { host?: string | undefined; port: number; password?: Secret | undefined; tls: boolean };

/** Opens the configured cache. Does not wait for Redis: a service starts and works without it. */
export const openCache = (options: { redis: RedisSettings; log: Logger; clock: Clock }): Cache => {
  const { host } = options.redis;
  return host === undefined
    ? processCache(options.clock)
    : redisCache({ ...options.redis, host }, options.log);
};

const processEntriesMax = 10_000;

/** The least recently used entries of a full map make room. */
export const boundedMap = <Value>(entriesMax: number) => {
  const entries = new Map<string, Value>();
  return {
    get: (key: string): Value | undefined => {
      const value = entries.get(key);
      if (value !== undefined) {
        entries.delete(key);
        entries.set(key, value);
      }
      return value;
    },
    set: (key: string, value: Value): void => {
      entries.delete(key);
      entries.set(key, value);
      const oldest = entries.keys().next();
      if (entries.size > entriesMax && !oldest.done) entries.delete(oldest.value);
    },
    delete: (key: string): boolean => entries.delete(key),
  };
};

/** A cache in this process, of at most 10,000 entries. */
export const processCache = (clock: Clock): Cache => {
  const entries = boundedMap<{ value: string; expiresAt: number }>(processEntriesMax);
  const listeners = new Map<string, ((message: string) => void)[]>();
  const nowMs = (): number => elapsedMs(clock);
  return {
    async get(key) {
      const entry = entries.get(key);
      if (entry && entry.expiresAt > nowMs()) return entry.value;
      entries.delete(key);
      return undefined;
    },
    async set(key, value, { ttlMs }) {
      entries.set(key, { value, expiresAt: nowMs() + ttlMs });
    },
    async delete(key) {
      entries.delete(key);
    },
    async publish(channel, message) {
      for (const listen of listeners.get(channel) ?? []) listen(message);
    },
    async subscribe(channel, listen) {
      listeners.set(channel, [...(listeners.get(channel) ?? []), listen]);
    },
    state: () => 'not configured',
    probe: async () => 'not configured',
    counters: undefined,
    async close() {
      listeners.clear();
    },
  };
};

/** How long a command may take; a cache that is slower than this is worse than none. */
const commandTimeoutMs = 250;
/** For how long nobody asks a Redis that did not answer in time. */
const pauseMs = 1000;
const reconnectMaxMs = 2000;

const redisCache = (redis: RedisSettings & { host: string }, log: Logger): Cache => {
  const client = clientOf(redis);
  const subscriber = client.duplicate();
  let pausedUntilMs = 0;
  let reported: CacheState | undefined;
  const isReady = (): boolean => client.isReady && performance.now() >= pausedUntilMs;
  const state = (): CacheState => (isReady() ? 'connected' : 'disconnected');

  /** Logs changes, not every failed attempt to reconnect. */
  const report = (now: CacheState, err?: unknown): void => {
    if (now === reported) return;
    reported = now;
    if (now === 'connected') log.info('Redis is connected');
    else log.warn({ err }, 'Redis is away: caches are empty and rate limits count in this process');
  };

  const ask = async <Value>(command: () => Promise<Value>): Promise<Value> => {
    if (!isReady()) throw new Error('Redis is away');
    try {
      return await inTime(command());
    } catch (error) {
      if (error instanceof TooSlow) {
        pausedUntilMs = performance.now() + pauseMs;
        report('disconnected', error);
      }
      throw error;
    }
  };
  const tell = async (command: () => Promise<unknown>): Promise<void> => {
    await ask(command).catch(() => undefined);
  };

  client.on('ready', () => report('connected'));
  client.on('error', (error: unknown) => report('disconnected', error));
  subscriber.on('error', () => undefined);
  void client.connect().catch(() => undefined);
  void subscriber.connect().catch(() => undefined);

  return {
    get: (key) =>
      ask(() => client.get(key)).then(
        (value) => value ?? undefined,
        () => undefined,
      ),
    set: (key, value, { ttlMs }) =>
      tell(() => client.set(key, value, { PX: Math.max(1, Math.floor(ttlMs)) })),
    delete: (key) => tell(() => client.del(key)),
    publish: (channel, message) => tell(() => client.publish(channel, message)),
    async subscribe(channel, listen) {
      // The client keeps the subscription and renews it after every reconnection, so nobody waits for the first one.
      void subscriber.subscribe(channel, listen).catch(() => undefined);
    },
    state,
    probe: () =>
      ask(() => client.ping()).then(
        () => 'connected',
        () => 'disconnected',
      ),
    counters: {
      get isReady() {
        return isReady();
      },
      eval: (script, options) => ask(() => client.eval(script, options)),
    },
    async close() {
      client.destroy();
      subscriber.destroy();
    },
  };
};

/** Only where one is configured: its 600 modules are a quarter of all that a start would load. */
const loadRedis = (): typeof Redis =>
  // `require` gives `any`.
  createRequire(import.meta.url)('redis') as typeof Redis;

const clientOf = (redis: RedisSettings & { host: string }) =>
  loadRedis().createClient({
    ...(redis.password ? { password: redis.password.reveal() } : {}),
    // A command that waits for a reconnection would be answered when nobody wants it any more.
    disableOfflineQueue: true,
    commandsQueueMaxLength: 10_000,
    socket: {
      host: redis.host,
      port: redis.port,
      connectTimeout: 1000,
      reconnectStrategy: (retries: number) => Math.min(50 * 2 ** retries, reconnectMaxMs),
      ...(redis.tls ? { tls: true as const, servername: redis.host } : {}),
    },
  });

class TooSlow extends Error {
  override readonly name = 'TooSlow';
}

const inTime = async <Value>(answer: Promise<Value>): Promise<Value> => {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new TooSlow(`no answer within ${commandTimeoutMs} ms`)),
    commandTimeoutMs,
  );
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
};
