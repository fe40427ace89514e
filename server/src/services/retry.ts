/** What happened to one attempt to forward a request. */
type Failure = {
  /** The method, and the Idempotency-Key if there was one. */
  request: { method: string; idempotencyKey: unknown };
  error: unknown;
  /** Attempts before this one. */
  attempt: number;
};

/** Nobody listened, so nothing was sent. */
const refusedCodes = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'];
/** The connection ended before the answer began. */
const brokenCodes = ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'];

/** Together about a second and a half: as long as one process takes to make room for the next. */
const refusedDelaysMs = [50, 100, 200, 400, 800];
const brokenDelayMs = 20;

/**
 * After how many milliseconds a request to `sapi` may be sent again, if at all. One that was never sent, always; one that
 * may have been acted upon, once, and only where a second time does the same: reads, and writes with an Idempotency-Key.
 * That is what meets a process that stops just when a request is on its way to it.
 */
export const retryDelayMs = ({ request, error, attempt }: Failure): number | null => {
  const code = codeOf(error);
  if (refusedCodes.includes(code)) return refusedDelaysMs[attempt] ?? null;
  const { method, idempotencyKey } = request;
  const isRepeatable = method === 'GET' || method === 'HEAD' || idempotencyKey !== undefined;
  return isBroken(error) && isRepeatable && attempt === 0 ? brokenDelayMs : null;
};

/** Whether a connection broke on which a request may have been sent: what was asked may have happened. */
export const isBroken = (error: unknown): boolean => brokenCodes.includes(codeOf(error));

const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return '';
  // A host with several addresses fails with one error for each.
  const [first = error] = error instanceof AggregateError ? error.errors : [error];
  return first instanceof Error && 'code' in first && typeof first.code === 'string' ? first.code : '';
};
