import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { sql } from 'kysely';
import { sealedChannel } from '../lib/bell.ts';
import type { Clock } from '../lib/clock.ts';
import type { ConnectionOptions, Db } from '../lib/database.ts';
import type { Job } from '../lib/jobs.ts';
import { lead } from '../lib/leader.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { createWake, type Wake } from '../lib/wake.ts';
import { findNewestHead, insertHead, publishKeys, type StoredHead } from './heads.ts';
import type { Edge, Node } from './merkle.ts';
import { sequencerMetrics, type SequencerMetrics } from './sequencer-metrics.ts';
import { openSigner, type KeyStore, type Signer } from './signing.ts';
import { entryLeaf, readEdge } from './tree.ts';
import { forEachWaiting, sealWaiting, type WaitingEntry } from './waiting.ts';

type Options = {
  connection: ConnectionOptions;
  secrets: KeyStore;
  clock: Clock;
  log: Log;
  metrics: Pick<Metrics, 'registry'>;
  /** Rings when there is something new. */
  wake?: Wake;
  /** How often to look for new entries while nobody says that there are any. */
  pollMs?: number;
  /** The time between two signed heads, at least. */
  headIntervalMs?: number;
  /** How often to try to take over from another process. */
  standbyMs?: number;
};

const defaults = { pollMs: 100, headIntervalMs: 1_000, standbyMs: 1_000 };

/** So many entries are a millisecond of hashing, after which others of this process get their turn. */
const sealMax = 500;
/** More waiting entries than this are read through a cursor. */
const lookMax = 5_000;
/** How long a signing key is used before it is read again: how fast a new one is taken up. */
const signerAgeMs = 30_000;

/**
 * Gives every committed journal entry its position, appends it to the Merkle tree and signs heads of it. One process does, the
 * one that holds the lock; the others wait to take over. Writers of entries do not wait for it.
 */
export const sequencerJob = (options: Options): Job => ({
  name: 'sequencer',
  run: (signal) => run({ ...defaults, wake: createWake(), ...options }, signal),
});

type Settings = Options & typeof defaults & { wake: Wake };

const run = async (settings: Settings, signal: AbortSignal): Promise<void> => {
  const { log } = settings;
  const metrics = sequencerMetrics(settings.metrics.registry);
  const leading = { ...settings, applicationName: 'florin-sequencer', lock: sequencerLock, signal };
  await lead(leading, async (session) => {
    try {
      const sequencer = await takeOver(session, settings, metrics, signal);
      log.info({ position: sequencer.edge.size.toString() }, 'This process orders the journal now');
      while (!signal.aborted) {
        const startedAtMs = performance.now();
        const from = sequencer.edge.size;
        if ((await advance(sequencer)) === 'more') continue;
        const found = Number(sequencer.edge.size - from);
        await rest(settings, { tookMs: performance.now() - startedAtMs, found }, signal);
      }
      await signHead(sequencer, 'now');
    } finally {
      metrics.leader.set(0);
    }
  });
};

/** Held by the session of the one sequencer of a database. */
const sequencerLock = ['florin.journal', 'sequencer'] as const;

/**
 * So many times as long as a look took it rests. While much is written, a fifth of the time of one processor is all that writers
 * lose to it; while little is, whoever waits for an event matters more.
 */
const restFactor = { busy: 4, quiet: 1 };

/** A look that finds more entries than this finds much. */
const quietMax = 16;

type Look = { tookMs: number; found: number };

/** Rests until there is something new, but for a while in any case. */
const rest = async (
  { pollMs, wake }: Settings,
  { tookMs, found }: Look,
  signal: AbortSignal,
): Promise<void> => {
  const restMs = Math.min(tookMs * restFactor[found > quietMax ? 'busy' : 'quiet'], pollMs);
  await wait(restMs, undefined, { signal }).catch(() => undefined);
  await wake.next(pollMs - restMs, signal);
};

/** What the sequencer knows: everything else is in the database. */
type Sequencer = {
  settings: Settings;
  signal: AbortSignal;
  session: Db;
  metrics: SequencerMetrics;
  edge: Edge;
  /** What the last look saw, all of it sealed. */
  snapshot: string;
  cluster: bigint;
  head: StoredHead | undefined;
  signer: { signer: Signer; readAt: Date } | undefined;
  complainedAt: Date | undefined;
};

/** Goes on where the last sequencer stopped. @throws Error when the log is not what was signed: nothing is added to it then */
const takeOver = async (
  session: Db,
  settings: Settings,
  metrics: SequencerMetrics,
  signal: AbortSignal,
): Promise<Sequencer> => {
  const { rows } = await sql<{ size: bigint; cluster: bigint }>`
    select coalesce((select max(position) + 1 from journal.positions), 0) as size, system_identifier as cluster
    from pg_control_system()
  `.execute(session);
  const { size, cluster } = rows[0] ?? { size: 0n, cluster: 0n };
  const head = await findNewestHead(session);
  await assertWhole(session, size, head);
  const sequencer: Sequencer = {
    settings,
    signal,
    session,
    metrics,
    edge: await readEdge(session, size),
    snapshot: '',
    cluster,
    head,
    signer: undefined,
    complainedAt: undefined,
  };
  metrics.leader.set(1);
  metrics.position.set(Number(size));
  const since = head?.cluster === cluster ? head.snapshot : undefined;
  await sealAll(sequencer, since);
  await signHead(sequencer, 'now');
  return sequencer;
};

/** No head is signed over a log that an earlier one contradicts. */
const assertWhole = async (session: Db, size: bigint, head: StoredHead | undefined): Promise<void> => {
  if (head === undefined) return;
  const advice = 'Nothing is added to it. Run: florin audit verify';
  if (head.size > size)
    throw new Error(
      `The journal was cut off: head ${head.number} is over ${head.size} positions, ${size} are left. ${advice}`,
    );
  if (!(await readEdge(session, head.size)).root().equals(head.root))
    throw new Error(
      `The journal was rewritten: head ${head.number} is not the root of its first ${head.size} positions. ${advice}`,
    );
};

/** One look for new entries: those that are there get their positions, with the nodes that they complete. */
const advance = async (sequencer: Sequencer): Promise<'more' | 'idle'> => {
  const { session, metrics, edge, snapshot: since } = sequencer;
  const sealed = await session.transaction().execute(async (tx) => {
    const found = await sealWaiting(tx, { since, start: edge.size, limit: lookMax });
    await insertNodes(tx, await grow(edge, found.leaves));
    if (found.leaves.length > 0) await tell(tx);
    return found;
  });
  showLag(sequencer, sealed.oldest, sealed.waiting);
  const isBehind = sealed.waiting > sealed.leaves.length;
  if (isBehind) await sealAll(sequencer, since);
  else sequencer.snapshot = sealed.snapshot;
  metrics.position.set(Number(edge.size));
  await signHead(sequencer, 'when due');
  return isBehind ? 'more' : 'idle';
};

/** Appends leaves, with a pause for others of this process after every millisecond or so of hashing. */
const grow = async (edge: Edge, leaves: readonly Buffer[]): Promise<Node[]> => {
  const nodes: Node[] = [];
  for (const [at, leaf] of leaves.entries()) {
    if (at % sealMax === sealMax - 1) await setImmediate();
    nodes.push(...edge.append(leaf));
  }
  return nodes;
};

const insertNodes = async (db: Db, nodes: readonly Node[]): Promise<void> => {
  if (nodes.length === 0) return;
  await sql`
    insert into journal.nodes (level, index, hash)
    select * from unnest(${nodes.map(({ level }) => level)}::smallint[], ${nodes.map(({ index }) => index)}::bigint[],
                         ${nodes.map(({ hash }) => hash)}::bytea[])
  `.execute(db);
};

const sealAll = async (sequencer: Sequencer, since: string | undefined): Promise<void> => {
  sequencer.snapshot = await forEachWaiting(sequencer.session, since, sealMax, async (page, left) => {
    // A backlog may take minutes: it is left to the next sequencer.
    sequencer.signal.throwIfAborted();
    showLag(sequencer, page[0]?.timestamp, page.length + left);
    await seal(sequencer, page);
    sequencer.metrics.position.set(Number(sequencer.edge.size));
  });
};

const showLag = ({ metrics, settings }: Sequencer, oldest: Date | undefined, waiting: number): void => {
  metrics.lagEntries.set(waiting);
  const ageMs = oldest ? settings.clock.now().getTime() - oldest.getTime() : 0;
  metrics.lagSeconds.set(Math.max(0, ageMs) / 1_000);
};

/** Gives entries the next positions. Should a second sequencer ever be at work, the primary keys refuse one of the two. */
const seal = async ({ session, edge }: Sequencer, entries: readonly WaitingEntry[]): Promise<void> => {
  const start = edge.size;
  const leaves = entries.map(({ hash }, at) => entryLeaf(start + BigInt(at), hash));
  const nodes = await grow(edge, leaves);
  await session.transaction().execute(async (tx) => {
    await sql`
      insert into journal.positions (position, tenant_id, entry_id, leaf)
      select ${start}::bigint + e.ordinal - 1, e.tenant_id, e.id, e.leaf
      from unnest(${entries.map((entry) => entry.tenant_id)}::integer[], ${entries.map(({ id }) => id)}::uuid[],
                  ${leaves}::bytea[]) with ordinality as e(tenant_id, id, leaf, ordinal)
    `.execute(tx);
    await insertNodes(tx, nodes);
    await tell(tx);
  });
};

/** Those who pass events on hear of it when it is committed. */
const tell = async (tx: Db): Promise<void> => {
  await sql`select pg_notify(${sealedChannel}, '')`.execute(tx);
};

/** Signs what was sealed since the last head, if anything was. */
const signHead = async (sequencer: Sequencer, when: 'now' | 'when due'): Promise<void> => {
  const { settings, session, edge, head, snapshot, cluster } = sequencer;
  const now = settings.clock.now();
  if (edge.size === (head?.size ?? 0n)) return;
  if (when === 'when due' && head && now.getTime() - head.timestamp.getTime() < settings.headIntervalMs)
    return;
  const signer = await signerFor(sequencer, now);
  if (!signer) return;
  // A clock that went back must not make the log do so.
  const timestamp = head && head.timestamp > now ? head.timestamp : now;
  const next = { number: (head?.number ?? 0n) + 1n, size: edge.size, root: edge.root(), timestamp };
  const signed = { ...next, signatures: signer.sign(next), snapshot, cluster };
  await insertHead(session, signed);
  sequencer.head = signed;
  sequencer.metrics.heads.inc();
};

/** The signer, read anew now and then. Without one entries get their positions all the same, and wait for a head. */
const signerFor = async (sequencer: Sequencer, now: Date): Promise<Signer | undefined> => {
  const { settings, session, signer: known } = sequencer;
  if (known && now.getTime() - known.readAt.getTime() < signerAgeMs) return known.signer;
  try {
    const signer = await openSigner(settings.secrets);
    await publishKeys(session, signer, now);
    if (known?.signer.keys[0]?.id !== signer.keys[0]?.id)
      settings.log.info({ key: signer.keys[0]?.id }, 'Heads of the journal are signed with this key');
    sequencer.signer = { signer, readAt: now };
    return signer;
  } catch (err) {
    const { complainedAt } = sequencer;
    if (!complainedAt || now.getTime() - complainedAt.getTime() >= signerAgeMs) {
      sequencer.complainedAt = now;
      settings.log.error({ err }, 'Heads of the journal can not be signed');
    }
    return known?.signer;
  }
};
