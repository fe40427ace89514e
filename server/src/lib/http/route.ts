import type { FastifyInstance, FastifyRequest } from 'fastify';
import { holdsCardNumber } from '../cards.ts';
import type { Caller, Context, Role } from '../caller.ts';
import type { Clock } from '../clock.ts';
import { invalidField, type ErrorCode } from '../errors.ts';
import type { Trace } from './trace.ts';

declare module 'fastify' {
  /** What every route declares about itself; `access` enforces it and `/openapi.json` prints it. */
  interface FastifyContextConfig {
    /** The role a caller needs, or `public` for everybody. A route without it does not register. */
    requires: Role | 'public';
    /** Only the platform's own keys and people, no vendor. */
    platformOnly?: boolean;
    /** Also for a platform caller that acts for no vendor. Others are asked to name one. */
    withoutVendor?: boolean;
    /** The refusals that are particular to this route; the general ones are known. */
    errors?: readonly ErrorCode[];
    /** Whether the metrics and the rate limit leave the route alone: probes and scrapes. */
    probe?: boolean;
    /** Who sends it is proven by a signature over the body: the limit of its address leaves it alone. */
    signed?: boolean;
    /** How large a body other than JSON may be, where that is more than the configured limit. */
    bodyLimitBytes?: number;
    /** What to do with a larger one, as its sender reads it. */
    bodyTooLarge?: string;
  }

  interface FastifyRequest {
    /** Who sent the request, proven. Reading it before the mounted authentication has set it throws. */
    caller: Caller;
    /** The caller if one is proven already: for logs and limits, which also meet strangers. */
    knownCaller: Caller | undefined;
    /** The W3C trace context of this request. */
    trace: Trace;
  }
}

/** Gives requests `caller` and `knownCaller`, and refuses to register a route that does not say who may call it. */
export const declareRoutes = (app: FastifyInstance): void => {
  app.decorateRequest('knownCaller', undefined);
  app.decorateRequest('caller', {
    getter(this: FastifyRequest) {
      if (!this.knownCaller)
        throw new Error(`${this.routeOptions.url ?? this.url} reads a caller that nobody proved`);
      return this.knownCaller;
    },
    setter(this: FastifyRequest, caller: Caller) {
      this.knownCaller = caller;
    },
  });
  app.addHook('onRoute', (route) => {
    if (route.config?.requires === undefined) {
      throw new Error(
        `${String(route.method)} ${route.url} does not say who may call it: config.requires is missing`,
      );
    }
  });
};

/** The circumstances of what this request changes. Throws when nobody has proven who is calling. */
export const contextOf = (request: FastifyRequest, clock: Clock): Context => ({
  tenantId: request.caller.tenantId,
  actor: request.caller.actor,
  origin: request.ip,
  requestId: request.id,
  now: clock.now(),
});

const visibleAscii = /^[\x21-\x7e]{1,255}$/;

/**
 * The Idempotency-Key of a request (IETF draft), if it sent one.
 * @throws AppError 400 when it is not 1 to 255 visible ASCII characters, or sent twice
 */
export const idempotencyKeyOf = (request: FastifyRequest): string | undefined => {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && holdsCardNumber(key)) {
    throw invalidField('Idempotency-Key', 'must not hold a card number; Florin stores none');
  }
  if (typeof key === 'string' && visibleAscii.test(key)) return key;
  throw invalidField(
    'Idempotency-Key',
    'must be 1 to 255 visible ASCII characters without spaces, sent once',
  );
};
