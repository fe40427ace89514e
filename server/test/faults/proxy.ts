import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { boundOf, parsedOf, queryOf, splitter, stateOf, type Message } from './wire.ts';

/** What commits: the statement that writes a batch, or the COMMIT of a transaction that stores an answer. */
export type Place = 'batch' | 'commit';

/** A connection that is lost at a commit. */
export type Cut = {
  at: Place;
  /** Just before the commit, so that PostgreSQL never hears of it; or just after, so that nobody hears that it was done. */
  lost: 'request' | 'answer';
  /** Closed, or as good as cut through: open at both ends, and no byte arrives any more. */
  how: 'closed' | 'silent';
};

/** Stands between a service and PostgreSQL, understands what they say, and loses it. */
export type Proxy = AsyncDisposable & {
  port: number;
  /** Loses the next commit of that kind; resolves when it did. */
  cut(cut: Cut): Promise<void>;
  /** Holds every query back for so long; 0 holds none back any more. */
  delay(ms: number): void;
  /** What happened: queries held back, and errors that PostgreSQL answered, by their SQLSTATE. */
  seen: { slowed: number; states: Map<string, number> };
};

type Armed = { cut: Cut; fired: () => void };

/** What all connections know. */
type Shared = {
  target: { host: string; port: number };
  armed: Map<Place, Armed>;
  seen: Proxy['seen'];
  delayMs: number;
};

export const startProxy = async (target: Shared['target']): Promise<Proxy> => {
  const shared: Shared = { target, armed: new Map(), seen: { slowed: 0, states: new Map() }, delayMs: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = connect(target);
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('close', () => sockets.delete(socket));
      // Ends are what this is about; whoever is at the other one is told by its close.
      socket.on('error', () => undefined);
    }
    relay(client, database, shared);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return {
    port: address.port,
    seen: shared.seen,
    cut: (cut) => new Promise((fired) => void shared.armed.set(cut.at, { cut, fired })),
    delay: (ms) => {
      shared.delayMs = ms;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};

const flush: Message = { type: 'H', bytes: Buffer.from('H\0\0\0\x04', 'latin1') };

/** A request that PostgreSQL answers with one ReadyForQuery; `lost` when its answer is not to arrive. */
type Asked = { lost: Armed | undefined; answer: Buffer[]; failed: boolean };

const relay = (client: Socket, database: Socket, shared: Shared): void => {
  const asked: Asked[] = [];
  let isSilent = false;
  let isInBatch = false;
  let storesAnswer = false;
  let before = Promise.resolve();
  /** A batch that is being written, and will not be committed. */
  let uncommitted: Armed | undefined;

  /** Lets PostgreSQL do what it was told and answer that, which without a Flush it does with the commit that Sync asks for. */
  const withhold = (armed: Armed): void => {
    shared.armed.delete(armed.cut.at);
    uncommitted = armed;
    forward(flush);
  };

  const lose = ({ cut: { how, at }, fired }: Armed): void => {
    shared.armed.delete(at);
    isSilent = true;
    if (how === 'closed') for (const socket of [client, database]) socket.destroy();
    fired();
  };

  /** What is said to PostgreSQL, in its order, each query held back as long as all are. */
  const forward = ({ type, bytes }: Message): void => {
    const heldMs = type === 'S' || type === 'Q' ? shared.delayMs : 0;
    if (heldMs > 0) shared.seen.slowed += 1;
    before = sendAfter(before, heldMs, bytes);
  };
  const sendAfter = async (earlier: Promise<void>, heldMs: number, bytes: Buffer): Promise<void> => {
    await earlier;
    if (heldMs > 0) await wait(heldMs);
    if (!isSilent && database.writable) database.write(bytes);
  };

  /** Whether the message is what a cut waits for. A line that falls silent breaks before anything of a batch has arrived. */
  const isAt = (message: Message, { at, lost, how }: Cut): boolean => {
    const { type } = message;
    if (at === 'commit') return type === 'Q' && storesAnswer && queryOf(message) === 'commit';
    return isInBatch && type === (lost === 'request' && how === 'silent' ? 'B' : 'S');
  };

  const follow = (message: Message): void => {
    const { type } = message;
    if (type === 'B') isInBatch = boundOf(message) === 'payments.create_batch';
    if (type === 'P' && parsedOf(message).includes('insert into journal.idempotency_keys'))
      storesAnswer = true;
    if (type === 'Q' && queryOf(message) === 'begin') storesAnswer = false;
  };

  const fromClient = splitter('client', (message) => {
    if (isSilent || uncommitted) return;
    follow(message);
    const lost = [...shared.armed.values()].find(({ cut }) => isAt(message, cut));
    if (lost?.cut.lost === 'request') return message.type === 'S' ? withhold(lost) : lose(lost);
    if (message.type === 'S' || message.type === 'Q') asked.push({ lost, answer: [], failed: false });
    forward(message);
  });

  const fromDatabase = splitter('server', (message) => {
    if (isSilent) return;
    const { type, bytes } = message;
    if (type === 'E') {
      const state = stateOf(message);
      shared.seen.states.set(state, (shared.seen.states.get(state) ?? 0) + 1);
    }
    const [current] = asked;
    if (!current && uncommitted && (type === 'C' || type === 'E')) return lose(uncommitted);
    if (type === 'Z') asked.shift();
    // Another connection may have lost its own meanwhile.
    if (!current?.lost || shared.armed.get(current.lost.cut.at) !== current.lost) {
      client.write(Buffer.concat([...(current?.answer.splice(0) ?? []), bytes]));
      return;
    }
    current.answer.push(bytes);
    current.failed ||= type === 'E';
    if (type !== 'Z') return;
    // What was rolled back is no commit whose answer is lost.
    if (current.failed) client.write(Buffer.concat(current.answer));
    else lose(current.lost);
  });

  client.on('data', fromClient);
  database.on('data', fromDatabase);
  // Behind a line that is cut through, nobody sees the other end close.
  client.on('close', () => {
    if (!isSilent) database.destroy();
  });
  database.on('close', () => {
    if (!isSilent) client.destroy();
  });
};
