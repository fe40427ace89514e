/** Why a call had no answer. `address_refused`, `unresolvable`: nothing was sent. */
export type OutboundCode =
  | 'address_refused'
  | 'unresolvable'
  | 'connection'
  | 'tls'
  | 'timeout'
  | 'answer'
  | 'proxy';

/**
 * A call that ended without an answer. The message is for the eyes of whoever chose the address: it says what to change,
 * and nothing of what is in our network. What happened underneath is the cause, for our log.
 */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
  readonly code: OutboundCode;
  /** How long it took from the beginning of the call, in whole milliseconds; 0 until the call is over. */
  durationMs = 0;

  constructor(code: OutboundCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The one text for every address that is not called and every name that has none. If they differed, whoever chooses names
 * would learn which of them exist inside our network.
 */
export const notPublic =
  'no public address was found for this host: check the spelling of its name and its DNS records; ' +
  'private, local and reserved addresses are not called';

/** The code that Node.js, OpenSSL or undici gave an error, or ''. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
