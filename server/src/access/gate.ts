import type { FastifyRequest } from 'fastify';
import { platformTenantId, type Caller } from '../lib/caller.ts';
import type { Clock } from '../lib/clock.ts';
import { AppError, type ErrorCode } from '../lib/errors.ts';
import type { limitFailures } from '../lib/http/limits.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { ClientRecord } from '../vendors/credentials.ts';
import type { Authenticator } from './authenticate.ts';
import { credentialOf, type Credential } from './credential.ts';
import type { SecurityEvents } from './security-events.ts';
import type { AccessClaims, AccessToken, Tokens } from './tokens.ts';
import type { Watch } from './watch.ts';

type Parts = {
  authenticator: Authenticator;
  tokens: Tokens;
  watch: Watch;
  events: SecurityEvents;
  failures: ReturnType<typeof limitFailures>;
  metrics: Metrics;
  clock: Clock;
};

/** Lets requests in or refuses them, and sees to it that both are counted, and failures slowed down and recorded. */
export type Gate = {
  tokenTtlS: number;
  /** Who sent a request. @throws AppError 400, 401, 403, 404, 429 */
  admit(request: FastifyRequest): Promise<Caller>;
  /** A new access token for a client that proves its secret. @throws AppError 401, 429 */
  issueToken(request: FastifyRequest, client: Extract<Credential, { kind: 'client' }>): Promise<AccessToken>;
  /** What a valid access token says, or undefined. */
  checkToken(
    request: FastifyRequest,
    token: string,
  ): Promise<{ claims: AccessClaims; client: ClientRecord } | undefined>;
};

export const accessGate = ({
  authenticator,
  tokens,
  watch,
  events,
  failures,
  metrics,
  clock,
}: Parts): Gate => {
  const guardOf = (request: FastifyRequest) => () => failures.guard(request.ip);

  /** Runs one attempt to authenticate and notes how it went. */
  const attempt = async <Proof>(
    request: FastifyRequest,
    credential: Credential,
    prove: () => Promise<Proof>,
  ): Promise<Proof> => {
    try {
      const proof = await prove();
      metrics.authentications.inc({ result: 'success' });
      return proof;
    } catch (error) {
      if (error instanceof AppError && failureCodes.includes(error.code))
        await noteFailure(request, credential, error);
      throw error;
    }
  };

  const noteFailure = async (
    request: FastifyRequest,
    credential: Credential,
    error: AppError,
  ): Promise<void> => {
    metrics.authentications.inc({ result: 'failure' });
    await failures.record(request.ip);
    // Known from the attempt itself, so this asks nobody. What a stranger made up is not written down.
    const client =
      credential.kind === 'client' ? await authenticator.findClient(credential.clientId) : undefined;
    const actor = client ? `client:${client.clientId}` : 'unknown';
    events.record(request, 'authentication.failed', error, {
      actor,
      tenantId: client?.tenantId ?? platformTenantId,
    });
  };

  return {
    tokenTtlS: tokens.ttlS,
    admit: async (request) => {
      const credential = credentialOf(request.headers);
      if (!credential) throw new AppError('authentication_required', 'API key required');
      const vendor = request.headers['florin-vendor'];
      const caller = await attempt(request, credential, () =>
        authenticator.prove(credential, { vendor: vendor && String(vendor), beforeGuess: guardOf(request) }),
      );
      watch.noteUse(caller.actor, clock.now());
      return caller;
    },
    issueToken: (request, client) =>
      attempt(request, client, async () => {
        const { clientId, tenantId, vendorId, mode, role } = await authenticator.proveClient(
          client,
          guardOf(request),
        );
        watch.noteUse(`client:${clientId}`, clock.now());
        return tokens.issue({ client_id: clientId, tenant: tenantId, vendor: vendorId, mode, role });
      }),
    checkToken: async (request, token) => {
      const proven = await authenticator.checkToken(token);
      if (proven) metrics.authentications.inc({ result: 'success' });
      else await noteFailure(request, { kind: 'token', token }, new AppError('invalid_token', 'not active'));
      return proven;
    },
  };
};

const failureCodes: readonly ErrorCode[] = ['invalid_credentials', 'invalid_api_key', 'invalid_token'];
