import type { Role } from '../caller.ts';
import { AppError, errorKinds, type ErrorCode } from '../errors.ts';
import { problemOf } from '../http/problem.ts';

/** What the document needs to know about a route besides its schema. */
export type Operation = {
  requires: Role | 'public';
  platformOnly: boolean;
  errors: readonly ErrorCode[];
  probe: boolean;
  writes: boolean;
  /** Whether `Dry-Run: true` answers what it would do. */
  previews: boolean;
  /** Whether a request without a body is as good as one with an empty one. */
  bodyOptional: boolean;
};

/** Every code that an operation can answer with: the general ones that apply to it, and its own. */
export const codesOf = (operation: Operation): ErrorCode[] => {
  const authenticated = operation.requires !== 'public';
  const general: (readonly [boolean, ErrorCode[]])[] = [
    [
      true,
      [
        'invalid_request',
        'origin_not_allowed',
        'request_timeout',
        'headers_too_large',
        'internal_error',
        'unavailable',
      ],
    ],
    [!operation.probe, ['rate_limited', 'overloaded']],
    // Also where no body is expected: one that is sent is read.
    [operation.writes, ['unsupported_media_type', 'body_too_large']],
    [authenticated, ['authentication_required', 'invalid_credentials', 'invalid_token', 'invalid_api_key']],
    // For an unknown object, an unknown vendor in Florin-Vendor, and whoever may not know of the operation.
    [authenticated, ['not_found']],
    [authenticated, ['insufficient_permissions', 'vendor_required', 'upstream_timeout']],
    [
      authenticated && operation.writes,
      ['idempotency_key_required', 'idempotency_key_reused', 'request_in_flight'],
    ],
  ];
  const codes = general.flatMap(([applies, some]) => (applies ? some : []));
  return [...new Set([...codes, ...operation.errors])].toSorted(
    (a, b) => errorKinds[a].status - errorKinds[b].status,
  );
};

const details: Partial<Record<ErrorCode, AppError>> = {
  invalid_request: new AppError(
    'invalid_request',
    'amount: must be a number or a decimal string, such as "10.50"',
    {
      faults: [{ field: 'amount', message: 'must be a number or a decimal string, such as "10.50"' }],
    },
  ),
  authentication_required: new AppError('authentication_required', 'API key required'),
  invalid_api_key: new AppError('invalid_api_key', 'Invalid API key'),
  insufficient_permissions: new AppError('insufficient_permissions', 'Insufficient permissions'),
  rate_limited: new AppError('rate_limited', 'Too many requests with this credential'),
  not_found: new AppError('not_found', 'No such payment.'),
};

/** A refusal as it looks, for the documentation. */
export const problemExample = (code: ErrorCode) =>
  problemOf(
    details[code] ?? new AppError(code, `${errorKinds[code].title}.`),
    'req_01h455vb4pex5vsknk084sn02q',
  );
