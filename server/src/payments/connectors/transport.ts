import { Pool } from 'undici';
import { NotSent } from './connector.ts';

/** What a backend answered: its status, and the body, which is bounded. */
export type Reply = { status: number; body: string };

/** Connections to one backend, kept alive between requests. */
export type Transport = {
  /**
   * @throws NotSent when there was no connection; any other error leaves open whether the request arrived
   */
  post(
    path: string,
    request: { headers: Record<string, string>; body: string; signal: AbortSignal },
  ): Promise<Reply>;
  close(): Promise<void>;
};

/** How many requests to one backend are under way at once; the others wait for a connection. */
const connectionsMax = 256;

/** No answer of a backend has a reason to be larger. */
const answerMaxBytes = 64 * 1024;

/**
 * Opens connections to the operator's own backend. TLS is verified, redirects are not followed (where they lead to was not
 * configured), and nothing is ever sent a second time.
 * @param options.timeoutMs how long a call may take in all; a connection has to be there after half of it
 */
export const openTransport = (url: string, { timeoutMs }: { timeoutMs: number }): Transport => {
  const { origin, pathname } = new URL(url);
  const base = pathname.replace(/\/+$/, '');
  const pool = new Pool(origin, {
    connections: connectionsMax,
    pipelining: 1,
    maxResponseSize: answerMaxBytes,
    connect: { timeout: Math.ceil(timeoutMs / 2) },
    // The signal of each call bounds it as a whole.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return {
    post: async (path, { headers, body, signal }) => {
      try {
        const answer = await pool.request({ method: 'POST', path: `${base}${path}`, headers, body, signal });
        return { status: answer.statusCode, body: await answer.body.text() };
      } catch (error) {
        throw isNotSent(error) ? new NotSent('The backend could not be reached', { cause: error }) : error;
      }
    },
    // What still waits for its answer has given up on it by then.
    close: () => pool.destroy(),
  };
};

/** A certificate that is not believed ends the connection before anything is sent. */
const certificateFaults = /^(CERT_|ERR_TLS_CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

const unreachable = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'];

/** Whether an error says that there was no connection on which the request could have been sent. */
export const isNotSent = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  // A host with several addresses fails with one error for each.
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.every(isNotSent);
  const { code, syscall }: NodeJS.ErrnoException = error;
  if (syscall === 'connect' || unreachable.includes(code ?? '') || certificateFaults.test(code ?? ''))
    return true;
  return isNotSent(error.cause);
};
