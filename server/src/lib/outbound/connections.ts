import type { Socket } from 'node:net';
import { Client, type buildConnector } from 'undici';
import { elapsedMs, type Clock } from '../clock.ts';
import { dial, type Allowance, type Target, type Way } from './dial.ts';

/** A connection to one receiver; it carries one call at a time. */
export type Connection = {
  client: Client;
  target: Target;
  allowance: Allowance;
  openedAtMs: number;
  /** Closes it, whatever it is doing. */
  drop(): void;
};

/** Connections that are kept between calls to the same host, port and scheme. */
export type Connections = {
  /** One that is free, or a new one. How many there are at once is up to the callers: one for each call under way. */
  take(target: Target): Connection;
  /** Gives back what may carry another call. */
  give(connection: Connection): void;
  close(): void;
};

const limits = {
  /** Header fields of an answer, and its trailers, in bytes. */
  headersMaxBytes: 16_384,
  /** How long a connection waits for the next call, unless the receiver says that it waits longer (`Keep-Alive`). */
  idleMs: 4_000,
  idleMaxMs: 30_000,
  /** Whoever moves its DNS records is called at the new address within this time, however busy it is. */
  ageMaxMs: 60_000,
  idlePerOrigin: 64,
  idleInAll: 1_024,
} as const;

export const openConnections = (way: Way, clock: Clock): Connections => {
  const idle = new Map<string, Connection[]>();
  let idleCount = 0;
  let isClosed = false;

  const forget = (connection: Connection): void => {
    const waiting = idle.get(connection.target.origin) ?? [];
    const place = waiting.indexOf(connection);
    if (place === -1) return;
    waiting.splice(place, 1);
    idleCount -= 1;
    if (waiting.length === 0) idle.delete(connection.target.origin);
  };

  const opened = (target: Target): Connection => {
    const ended = new AbortController();
    const allowance: Allowance = { bytes: 0 };
    const dialled = (): Promise<Socket> => dial(connection.target, way, { allowance, signal: ended.signal });
    const client = open(target.origin, dialled);
    const drop = (): void => {
      ended.abort();
      void client.destroy();
    };
    const connection: Connection = { client, target, allowance, openedAtMs: elapsedMs(clock), drop };
    client.on('disconnect', () => forget(connection));
    return connection;
  };

  const take = (target: Target): Connection => {
    const free = idle.get(target.origin)?.at(-1);
    if (free === undefined) return opened(target);
    forget(free);
    free.target = target;
    return free;
  };

  const give = (connection: Connection): void => {
    const { origin } = connection.target;
    const waiting = idle.get(origin) ?? [];
    const isOld = elapsedMs(clock) - connection.openedAtMs > limits.ageMaxMs;
    const isFull = waiting.length >= limits.idlePerOrigin || idleCount >= limits.idleInAll;
    // The receiver may have said that this answer is the last on it.
    const isEnded = !connection.client.stats.connected;
    if (isClosed || isEnded || isOld || isFull) return connection.drop();
    waiting.push(connection);
    idleCount += 1;
    idle.set(origin, waiting);
  };

  const close = (): void => {
    isClosed = true;
    for (const connection of [...idle.values()].flat()) {
      forget(connection);
      connection.drop();
    }
  };

  return { take, give, close };
};

/** A client that connects by `dialled`: at its first call, and again where the receiver hung up between two. */
const open = (origin: string, dialled: () => Promise<Socket>): Client =>
  new Client(origin, {
    // Instead of undici's own, which would resolve the name once more.
    connect: (_options, callback) => void tell(dialled(), callback),
    pipelining: 1,
    maxHeaderSize: limits.headersMaxBytes,
    keepAliveTimeout: limits.idleMs,
    keepAliveMaxTimeout: limits.idleMaxMs,
    // A call has one time limit for all that it does; see outbound.ts.
    headersTimeout: 0,
    bodyTimeout: 0,
  });

/** Hands what `dial` gave to undici, which takes callbacks. */
const tell = async (dialled: Promise<Socket>, callback: buildConnector.Callback): Promise<void> => {
  const [answer] = await Promise.allSettled([dialled]);
  if (answer.status === 'fulfilled') callback(null, answer.value);
  else callback(answer.reason, null);
};
