import type { FastifyRequest } from 'fastify';
import { authenticator, decoyPath } from '../access/authenticate.ts';
import type { Directory } from '../access/directory.ts';
import { accessGate } from '../access/gate.ts';
import { accessRoutes } from '../access/routes.ts';
import { securityEvents, type SecurityEvents } from '../access/security-events.ts';
import { accessTokens } from '../access/tokens.ts';
import { revocationChannel, watch, type Watch } from '../access/watch.ts';
import type { Cache } from '../lib/cache.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import { randomSecret } from '../lib/crypto.ts';
import type { Drain } from '../lib/http/drain.ts';
import { limitFailures, limitRequests } from '../lib/http/limits.ts';
import type { App } from '../lib/http/server.ts';
import type { Log } from '../lib/log.ts';
import type { Observers } from '../lib/observers.ts';
import type { SecretSource } from '../secrets/source.ts';

export type EdgeParts = Observers & {
  config: Pick<Config, 'auth' | 'rateLimit'>;
  /** Where the core is asked: `localDirectory` in one process, `remoteDirectory` at an edge of its own. */
  directory: Directory;
  secrets: SecretSource;
  cache: Cache;
  clock: Clock;
  log: Log;
  drain?: Drain;
};

export type Edge = { watch: Watch; events: SecurityEvents };

/** How many failed authentications one address may make in a minute. */
const failuresMax = 20;
const failuresWindowMs = 60_000;

/**
 * Mounts the edge on a server, before its routes: every request to a route that is not public, and to every unknown
 * path under `/api/v1`, is proven to be someone and counted against their limit. Adds `/api/v1/authenticate` and
 * `/api/v1/validate-token`. In one process the routes of the core follow on the same server, else the forwarder.
 */
export const mountEdge = (app: App, parts: EdgeParts): Edge => {
  const { config, directory, secrets, cache, clock, log, metrics } = parts;
  const onFailure = (err: unknown, what: string): void => log.warn({ err }, what);
  const tokens = accessTokens(config.auth, clock);
  const prover = authenticator({ directory, secrets, tokens, clock });
  const revocations = watch({ directory, authenticator: prover, onFailure });
  const events = securityEvents({ directory, clock, onFailure });
  const failures = limitFailures({
    max: failuresMax,
    windowMs: failuresWindowMs,
    counters: cache.counters,
    clock,
  });
  const gate = accessGate({
    authenticator: prover,
    tokens,
    watch: revocations,
    events,
    failures,
    metrics,
    clock,
  });

  app.addHook('onRequest', async (request) => {
    if (needsCaller(request)) request.caller = await gate.admit(request);
  });
  limitRequests(app, {
    ...config.rateLimit,
    counters: cache.counters,
    keyOf: ({ knownCaller }) => knownCaller?.actor,
  });
  app.register(accessRoutes(gate), { prefix: '/api/v1' });

  app.addHook('onReady', async () => {
    // A vault that is away keeps no edge from starting; it answers 503 until the vault is back.
    await prepareDecoy(secrets).catch((error: unknown) =>
      onFailure(error, 'the decoy secret could not be made'),
    );
    await cache.subscribe(revocationChannel, () => void revocations.poll());
    await revocations.poll();
    revocations.start();
  });
  app.addHook('onClose', async () => {
    await events.settled();
    await revocations.stop();
  });
  return { watch: revocations, events };
};

/** Deny by default: only what a route declares public is open. OPTIONS never carries credentials and reaches no route. */
const needsCaller = (request: FastifyRequest): boolean => {
  if (request.method === 'OPTIONS') return false;
  if (request.is404) return request.url.startsWith('/api/v1/');
  return request.routeOptions.config?.requires !== 'public';
};

/** Makes the secret with which unknown clients are compared, where the source lets us. */
const prepareDecoy = async (secrets: SecretSource): Promise<void> => {
  if (secrets.writable && !(await secrets.read(decoyPath))) await secrets.write(decoyPath, randomSecret(32));
};
