import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { boundedMap, type Counters } from '../cache.ts';
import { elapsedMs, type Clock } from '../clock.ts';
import { AppError } from '../errors.ts';

type LimitOptions = {
  /** How many requests a key may send in a window. */
  max: number;
  windowMs: number;
  /** Redis, to count together with other processes; without it, or while it is away, each process counts on its own. */
  counters: Counters | undefined;
};

/** How much of its limit a key has used. */
type Usage = { allowed: boolean; remaining: number; resetAfterS: number };

/** A limit that counts by key; `name` keeps the counts of different limits apart. */
const createLimit = (name: string, { max, windowMs, counters }: LimitOptions) => {
  const bounds = {
    keyPrefix: `limit:${name}`,
    points: max,
    duration: Math.max(1, Math.ceil(windowMs / 1000)),
  };
  const own = new RateLimiterMemory(bounds);
  const limiter = counters
    ? new RateLimiterRedis({
        ...bounds,
        storeClient: counters,
        useRedisPackage: true,
        rejectIfRedisNotReady: true,
        insuranceLimiter: own,
      })
    : own;
  const consume = async (key: string): Promise<Usage> => {
    const result = await limiter.consume(key).catch((refusal: unknown) => refusal);
    if (!(result instanceof RateLimiterRes)) throw result;
    return {
      allowed: result.consumedPoints <= max,
      remaining: result.remainingPoints,
      // Rounded up, so that a client that waits as told never comes too early.
      resetAfterS: Math.max(1, Math.ceil(result.msBeforeNext / 1000)),
    };
  };
  return { consume, windowS: bounds.duration, max };
};

const policy = 'default';

/**
 * Limits the requests of a server by credential, else by address, and tells clients where they stand in the header
 * fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). Probes are exempt. Mount it
 * behind the authentication whose callers it counts.
 * @param options.keyOf the proven credential of a request, if it has one
 */
export const limitRequests = (
  app: FastifyInstance,
  options: LimitOptions & { keyOf: (request: FastifyRequest) => string | undefined },
): void => {
  const limit = createLimit('requests', options);
  app.addHook('onRequest', async (request, reply) => {
    const { probe, signed } = request.routeOptions.config ?? {};
    if (probe === true || signed === true || request.method === 'OPTIONS') return;
    const credential = options.keyOf(request);
    const usage = await limit.consume(credential ?? addressKey(request.ip));
    describe(reply, limit, usage);
    if (!usage.allowed)
      throw tooMany(credential === undefined ? 'from this IP' : 'with this credential', usage.resetAfterS);
  });
};

const describe = (reply: FastifyReply, limit: { max: number; windowS: number }, usage: Usage): void => {
  reply.header('ratelimit-policy', `"${policy}";q=${limit.max};w=${limit.windowS}`);
  reply.header('ratelimit', `"${policy}";r=${usage.remaining};t=${usage.resetAfterS}`);
};

const tooMany = (whose: string, retryAfterS: number): AppError =>
  new AppError('rate_limited', `Too many requests ${whose}`, { retryAfterS });

const blockedAddressesMax = 10_000;

/**
 * A stricter limit for guessing: `record` counts a failed authentication of an address, and from the one that is too
 * many, `guard` refuses all further attempts from there until the window ends.
 */
export const limitFailures = (options: LimitOptions & { clock: Clock }) => {
  const limit = createLimit('failures', options);
  const blocked = boundedMap<number>(blockedAddressesMax);
  const nowMs = (): number => elapsedMs(options.clock);
  return {
    /** @throws AppError 429 while the address is blocked */
    guard(address: string): void {
      const untilMs = blocked.get(addressKey(address)) ?? 0;
      const leftMs = untilMs - nowMs();
      if (leftMs > 0) throw tooMany('from this IP', Math.ceil(leftMs / 1000));
    },
    async record(address: string): Promise<void> {
      const key = addressKey(address);
      const usage = await limit.consume(key);
      if (usage.remaining === 0) blocked.set(key, nowMs() + usage.resetAfterS * 1000);
    },
  };
};

/** Whoever has one IPv6 address has the 2^64 of its network, so they count as one; a mapped IPv4 address is that address. */
export const addressKey = (address: string): string => {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  return `${parsed
    .toByteArray()
    .slice(0, 8)
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')}/64`;
};
