import { internalApi } from '../access/remote.ts';
import { serviceTokens } from '../access/service-token.ts';
import { systemClock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';

/** How long sapi may take to write something: longer than it waits for a lock. */
const writeTimeoutMs = 20_000;

/**
 * Has sapi write what moves money, as no other process does.
 * @param what what it did not do if it can't be reached, such as `correct it`
 * @throws Error with the refusal of sapi, as it says it; or that there is no sapi
 */
export const askSapi = async <Answer>(
  { server: { sapiUrl }, auth }: Config,
  { path, body, what }: { path: string; body: object; what: string },
): Promise<Answer> => {
  const ask = internalApi(
    { sapiUrl, serviceTokens: serviceTokens(auth.serviceSecret, systemClock), service: 'cli' },
    { timeoutMs: writeTimeoutMs, unavailable: `sapi did not ${what} (${sapiUrl}).` },
  );
  try {
    return await ask<Answer>('POST', path, body);
  } catch (error) {
    throw new Error(explanationOf(error, sapiUrl), { cause: error });
  }
};

const explanationOf = (error: unknown, sapiUrl: string): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  const detail = cause instanceof Object && 'detail' in cause ? cause.detail : undefined;
  if (typeof detail === 'string') return detail;
  return `No sapi answers at ${sapiUrl}. Where Florin runs as one process (npm start, bin/api), add --local.`;
};
