import type { FastifyInstance, FastifySchema } from 'fastify';
import { Type, type Static } from 'typebox';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { CacheState } from '../lib/cache.ts';
import type { Clock } from '../lib/clock.ts';
import type { Drain } from '../lib/http/drain.ts';
import { timeOutput } from '../lib/http/schemas.ts';

/**
 * How a service learns whether what it needs is there. `database` and `internal` resolve or reject; in one process they
 * ask the pool, at an edge of its own they ask the core.
 */
export type Probes = {
  database(): Promise<unknown>;
  cache(): Promise<CacheState>;
  /** Whether the internal services answer: `/api/internal-health`. */
  internal(): Promise<unknown>;
};

type HealthOptions = {
  probes: Probes;
  clock: Clock;
  /** A process that was told to stop is not ready any more, however well it works. */
  drain?: Drain | undefined;
  timeoutMs?: number;
};

const probeTimeoutMs = 2000;

const state = Type.Enum(['ok', 'error'], { description: '`error` comes with status 503.' });
const connection = Type.Enum(['connected', 'disconnected']);
const cacheState = Type.Enum(['connected', 'disconnected', 'not configured']);

const timestamp = timeOutput({ description: 'When it was asked.' });
const now = '2026-11-22T08:00:00.000Z';

const liveBody = Type.Object({ status: state, timestamp }, { examples: [{ status: 'ok', timestamp: now }] });
const databaseBody = Type.Object(
  { status: state, timestamp, database: connection },
  { examples: [{ status: 'ok', timestamp: now, database: 'connected' }] },
);
const cacheBody = Type.Object(
  { status: state, timestamp, redis: cacheState, cache: Type.Enum(['redis', 'in-process']) },
  { examples: [{ status: 'ok', timestamp: now, redis: 'connected', cache: 'redis' }] },
);
const healthBody = Type.Object(
  { status: state, timestamp, database: connection, redis: cacheState },
  { examples: [{ status: 'ok', timestamp: now, database: 'connected', redis: 'connected' }] },
);

/** What every service answers about itself, on the public port and on the internal listener. */
export const healthRoutes = (options: HealthOptions): FastifyPluginAsyncTypebox => {
  const check = checks(options);
  return async (app) => {
    mount(app, {
      path: '/health',
      id: 'getHealth',
      claim: 'payments can be taken',
      body: healthBody,
      ask: check.health,
    });
    mount(app, {
      path: '/health/live',
      id: 'getLiveness',
      claim: 'the process runs',
      body: liveBody,
      ask: check.live,
    });
    mount(app, {
      path: '/health/ready',
      id: 'getReadiness',
      claim: 'the database and, if configured, Redis answer',
      body: healthBody,
      ask: check.ready,
    });
  };
};

/** The health paths of guide 002, for the public port. */
export const apiHealthRoutes = (options: HealthOptions): FastifyPluginAsyncTypebox => {
  const check = checks(options);
  return async (app) => {
    mount(app, {
      path: '/api/health',
      id: 'getApiHealth',
      claim: 'payments can be taken',
      body: healthBody,
      ask: check.health,
    });
    mount(app, {
      path: '/api/health/database',
      id: 'getDatabaseHealth',
      claim: 'the database answers',
      body: databaseBody,
      ask: check.database,
    });
    mount(app, {
      path: '/api/health/cache',
      id: 'getCacheHealth',
      claim: 'the cache answers (without Redis it is in the process)',
      body: cacheBody,
      ask: check.cache,
    });
    mount(app, {
      path: '/api/internal-health',
      id: 'getInternalHealth',
      claim: 'the internal services answer',
      body: liveBody,
      ask: check.internal,
    });
  };
};

type HealthPath<Body extends Type.TObject> = {
  path: string;
  /** The operation's id in `/openapi.json`. */
  id: string;
  /** What 200 says. */
  claim: string;
  body: Body;
  ask: () => Promise<Static<Body> & { status: 'ok' | 'error' }>;
};

const mount = <Body extends Type.TObject>(
  app: FastifyInstance,
  { path, id, claim, body, ask }: HealthPath<Body>,
): void => {
  const schema: FastifySchema = {
    operationId: id,
    summary: `Whether ${claim}.`,
    description: `Answers 200 when ${claim}, 503 with the same members when not.`,
    tags: ['Health'],
    response: { 200: body, 503: body },
  };
  app.get(path, { config: { requires: 'public', probe: true }, schema }, async (_request, reply) => {
    const answer = await ask();
    void reply.code(answer.status === 'ok' ? 200 : 503);
    return answer;
  });
};

/** What each path reports; one question to a dependency is asked for all who wait for it at that moment. */
const checks = ({ probes, clock, drain, timeoutMs = probeTimeoutMs }: HealthOptions) => {
  const isWanted = (): boolean => drain?.isDraining !== true;
  const succeeds = (ask: () => Promise<unknown>): (() => Promise<boolean>) =>
    shared(() =>
      inTime(ask, timeoutMs).then(
        () => true,
        () => false,
      ),
    );
  const database = succeeds(() => probes.database());
  const internal = succeeds(() => probes.internal());
  const cache = shared(() => inTime(() => probes.cache(), timeoutMs).catch((): CacheState => 'disconnected'));
  const at = (ok: boolean) => ({
    status: ok ? ('ok' as const) : ('error' as const),
    timestamp: clock.now().toISOString(),
  });
  const connected = (ok: boolean): Static<typeof connection> => (ok ? 'connected' : 'disconnected');
  const both = async () => {
    const [hasDatabase, redis] = await Promise.all([database(), cache()]);
    return { hasDatabase, redis, members: { database: connected(hasDatabase), redis } };
  };
  return {
    live: async () => at(true),
    async health() {
      const { hasDatabase, members } = await both();
      return { ...at(hasDatabase && isWanted()), ...members };
    },
    async ready() {
      const { hasDatabase, redis, members } = await both();
      return { ...at(hasDatabase && redis !== 'disconnected' && isWanted()), ...members };
    },
    async database() {
      const ok = await database();
      return { ...at(ok), database: connected(ok) };
    },
    async cache() {
      const redis = await cache();
      const kind = redis === 'not configured' ? ('in-process' as const) : ('redis' as const);
      return { ...at(redis !== 'disconnected'), redis, cache: kind };
    },
    internal: async () => at(await internal()),
  };
};

/** Callers that come while a question is open get its answer, so that no flood of probes becomes one of queries. */
const shared = <Value>(ask: () => Promise<Value>): (() => Promise<Value>) => {
  let open: Promise<Value> | undefined;
  return () => {
    open ??= ask().finally(() => {
      open = undefined;
    });
    return open;
  };
};

const inTime = async <Value>(ask: () => Promise<Value>, timeoutMs: number): Promise<Value> => {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([ask(), promise]);
  } finally {
    clearTimeout(timer);
  }
};
