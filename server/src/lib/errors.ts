/**
 * The one error class, and the one table of everything an API caller can be refused with.
 * A code without a row here does not compile; a row gives the HTTP status and the stable problem type.
 */
type ErrorKind = { status: number; title: string };

const kinds = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  idempotency_key_required: { status: 400, title: 'An Idempotency-Key header is required' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  body_too_large: { status: 413, title: 'The body is too large' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  request_timeout: { status: 408, title: 'The request took too long to arrive' },
  authentication_required: { status: 401, title: 'Authentication is required' },
  invalid_credentials: { status: 401, title: 'The credentials are not valid' },
  invalid_token: { status: 401, title: 'The access token is not valid' },
  invalid_api_key: { status: 403, title: 'The API key is not valid' },
  insufficient_permissions: { status: 403, title: 'The role of this credential does not allow it' },
  origin_not_allowed: { status: 403, title: 'This origin is not allowed' },
  vendor_required: { status: 400, title: 'A platform key has to name a vendor' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here' },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key was used with another request' },
  request_in_flight: { status: 409, title: 'The first request with this Idempotency-Key is still running' },
  invalid_state: { status: 409, title: 'The object is not in a state that allows this' },
  not_sealed: { status: 409, title: 'The journal entry is under no signed head yet' },
  already_exists: { status: 409, title: 'It exists already' },
  limit_reached: { status: 409, title: 'A limit of this account is reached' },
  insufficient_funds: { status: 422, title: 'The available balance is too low' },
  balance_overflow: { status: 422, title: 'The balance would exceed 64 bits' },
  amount_too_large: { status: 422, title: 'The amount is more than what is left' },
  fee_exceeds_amount: { status: 422, title: 'The fee is more than the amount' },
  no_connector: { status: 422, title: 'No payment backend is configured for this' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'Something went wrong on our side' },
  overloaded: { status: 503, title: 'The service is busy' },
  unavailable: { status: 503, title: 'A service that this needs is not available' },
  upstream_timeout: { status: 504, title: 'A service that this needs did not answer in time' },
} satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof kinds;

export const errorKinds: Readonly<Record<ErrorCode, ErrorKind>> = kinds;

/** One fault of one field of a request. `field` is a path such as `amount` or `metadata.colour`. */
export type FieldFault = { field: string; message: string };

type ErrorOptions = {
  /** What went wrong underneath; logged, never shown. */
  cause?: unknown;
  /** The faults of a refused request, one a field. */
  faults?: readonly FieldFault[];
  /** After how many whole seconds a retry makes sense; becomes `Retry-After`. */
  retryAfterS?: number;
  /** The refusal is the stored answer of an earlier request; becomes `Idempotent-Replayed`. */
  replayed?: boolean;
};

/** A refusal that the caller may read. Bugs are plain errors and become `internal_error`. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly faults: readonly FieldFault[] | undefined;
  readonly retryAfterS: number | undefined;
  readonly replayed: boolean;

  /**
   * @param code names the refusal, see `errorKinds`
   * @param publicMessage what the caller reads: what is wrong and what to change; never internals
   */
  constructor(code: ErrorCode, publicMessage: string, options: ErrorOptions = {}) {
    super(publicMessage, { cause: options.cause });
    this.code = code;
    this.faults = options.faults;
    this.retryAfterS = options.retryAfterS;
    this.replayed = options.replayed ?? false;
  }

  get status(): number {
    return errorKinds[this.code].status;
  }
}

/** Refuses one field of a request with 400. */
export const invalidField = (field: string, message: string): AppError =>
  new AppError('invalid_request', `${field}: ${message}`, { faults: [{ field, message }] });

/** What you may not see answers exactly like what does not exist. */
export const notFound = (what: string): AppError => new AppError('not_found', `No such ${what}.`);

/**
 * The database is away, full, or had no connection or lock to give in time. A write may have happened: its key tells.
 */
export const databaseGone = (cause: unknown): AppError =>
  new AppError('unavailable', 'The database is not available. Repeat the request with the same key.', {
    cause,
    retryAfterS: 1,
  });
