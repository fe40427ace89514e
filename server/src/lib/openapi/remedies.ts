import type { ErrorCode } from '../errors.ts';

/** What a caller can do about each refusal, for `/docs/errors`. A code without a remedy does not compile. */
export const remedies: Readonly<Record<ErrorCode, string>> = {
  invalid_request: 'Correct the fields that `errors` names and send the request again.',
  idempotency_key_required: 'Send an `Idempotency-Key` header; this account demands one with every write.',
  unsupported_media_type: 'Send the body as `Content-Type: application/json`, uncompressed.',
  body_too_large: 'Send a smaller body. The limit is 1 MiB unless an operation names another.',
  headers_too_large: 'Send fewer or shorter header fields, 16 KiB and 100 fields at most.',
  request_timeout: 'Send the request without pauses, and try again.',
  authentication_required:
    'Send `X-API-Key`, or `X-Client-ID` and `X-Client-Secret`, or `Authorization: Bearer`.',
  invalid_credentials: 'Check client id and secret. A rotated secret stops working when its transition ends.',
  invalid_token: 'Fetch a new access token; this one is expired, revoked or not ours.',
  invalid_api_key: 'Check the key. It may have been revoked or have expired.',
  insufficient_permissions: 'Use a credential with the role that the operation names.',
  origin_not_allowed: 'Ask the operator to allow the origin of your page, or call from a server.',
  vendor_required: 'Name the vendor in the `Florin-Vendor` header, or use a key with a default vendor.',
  not_found: 'Check the path and the id. Objects of other vendors and of the other mode answer the same.',
  method_not_allowed: 'Use one of the methods that the `Allow` header lists.',
  idempotency_key_reused:
    'Use a new `Idempotency-Key` for a new request; repeat a request only with equal body and path.',
  request_in_flight: 'Wait for `Retry-After` seconds and repeat the request with the same `Idempotency-Key`.',
  invalid_state: 'Read the object; its `status` decides what can be done with it.',
  not_sealed: 'Wait for `Retry-After` seconds; heads of the journal are signed once a second.',
  already_exists: 'Use the object that exists, or choose another name.',
  limit_reached: 'Remove what is not needed any more, or ask the operator for a higher limit.',
  insufficient_funds: 'Wait until the balance has grown, or choose a smaller amount.',
  balance_overflow: 'Split the amount; a balance holds at most 64 bits of minor units.',
  amount_too_large: 'Choose at most the amount that is left to capture or to refund.',
  fee_exceeds_amount: 'Choose an amount above the fee of this account.',
  no_connector: 'Ask the operator to configure a payment backend for live mode, or use a test credential.',
  rate_limited: 'Wait for `Retry-After` seconds. `RateLimit` says how many requests are left.',
  internal_error: 'Try again with the same `Idempotency-Key`. If it stays, report the `request_id`.',
  overloaded: 'Wait for `Retry-After` seconds and repeat the request with the same `Idempotency-Key`.',
  upstream_timeout:
    'Read the object, or repeat the request with the same `Idempotency-Key`: it may have been done.',
  unavailable: 'Try again in a moment with the same `Idempotency-Key`.',
};
