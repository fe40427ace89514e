import { holdsCardNumber } from '../lib/cards.ts';
import { AppError } from '../lib/errors.ts';
import type { ApiKeyRecord, ClientRecord, Revocations, VendorRecord } from '../vendors/credentials.ts';
import type { Directory } from './directory.ts';
import { serviceTokenHeader, type ServiceTokens } from './service-token.ts';

/** Where sapi is, and as whom it is asked. */
type Parts = {
  /** Where sapi listens, e.g. `http://127.0.0.1:3100`. */
  sapiUrl: string;
  serviceTokens: ServiceTokens;
  /** Which service is asking. */
  service: string;
};

const directoryLimits = {
  timeoutMs: 2_000,
  unavailable: 'Credentials can’t be checked right now. Try again.',
};
const attempts = 2;

/** The directory over HTTP: sapi's `/internal/v1`. */
export const remoteDirectory = (parts: Parts): Directory => {
  const ask = internalApi(parts, directoryLimits);
  const find = async <Record>(path: string, body: object): Promise<Record | undefined> =>
    (await ask<{ found: Record | null }>('POST', path, body)).found ?? undefined;

  return {
    resolveApiKey: (digest) => find<ApiKeyRecord>('/api-keys/resolve', { digest }),
    // sapi takes no card numbers, so nobody is named like one.
    findClient: async (clientId) =>
      holdsCardNumber(clientId) ? undefined : find<ClientRecord>('/clients/find', { clientId }),
    findVendor: async (vendor) =>
      holdsCardNumber(vendor) ? undefined : find<VendorRecord>('/vendors/find', { vendor }),
    revocationsSince: (last) =>
      ask<Revocations>('GET', `/revocations${last === undefined ? '' : `?since=${last}`}`),
    recordUsage: async (usage) => void (await ask('POST', '/usage', usage)),
    recordSecurityEvent: async (event) => void (await ask('POST', '/security-events', event)),
    health: async () => void (await ask('GET', '/health')),
  };
};

type Limits = {
  /** How long sapi may take to answer. */
  timeoutMs: number;
  /** What a caller reads when it does not. */
  unavailable: string;
};

/** Asks sapi's `/internal/v1` as a service, by its token. A request may arrive twice, so it must be harmless to repeat. */
export const internalApi =
  ({ sapiUrl, serviceTokens, service }: Parts, limits: Limits) =>
  async <Answer>(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> => {
    const token = serviceTokens.issue({ service, caller: undefined });
    const request = {
      method,
      headers: { [serviceTokenHeader]: token, ...(body ? { 'content-type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
      redirect: 'error' as const,
    };
    // sapi is of the same release: the shape of its answers is not checked again.
    return (await exchange(new URL(`/internal/v1${path}`, sapiUrl), request, limits)) as Answer;
  };

/** A connection that broke is tried once more. */
const exchange = async (
  url: URL,
  request: RequestInit,
  { timeoutMs, unavailable }: Limits,
): Promise<unknown> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, { ...request, signal: AbortSignal.timeout(timeoutMs) });
      const body: unknown = await response.json();
      if (response.ok) return body;
      throw new AppError('unavailable', unavailable, { cause: body, retryAfterS: 1 });
    } catch (cause) {
      const isFinal = cause instanceof AppError || (cause instanceof Error && cause.name === 'TimeoutError');
      if (!isFinal && attempt < attempts) continue;
      throw cause instanceof AppError
        ? cause
        : new AppError('unavailable', unavailable, { cause, retryAfterS: 1 });
    }
  }
};
