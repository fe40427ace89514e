import { randomFillSync } from 'node:crypto';

/** The trace context of a request (W3C Trace Context): the caller's trace, and our own span in it. */
export type Trace = {
  /** 32 hex characters; the caller's, or new. */
  traceId: string;
  /** The caller's span, 16 hex characters. */
  parentId: string | undefined;
  /** Our span. */
  spanId: string;
  sampled: boolean;
};

const traceparentForm = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Joins the trace that a `traceparent` header names, or starts one. A malformed header is ignored, as W3C demands.
 * @param sampleRatio the share of new traces that are recorded; of others their beginner has decided
 */
export const traceOf = (traceparent: string | string[] | undefined, sampleRatio = 0): Trace => {
  const random = randomHex();
  const spanId = random.slice(32);
  const match = typeof traceparent === 'string' ? traceparentForm.exec(traceparent) : null;
  const [, version, traceId, parentId, flags, rest] = match ?? [];
  const malformed =
    traceId === undefined ||
    parentId === undefined ||
    version === 'ff' ||
    (version === '00' && rest !== undefined) ||
    /^0+$/.test(traceId) ||
    /^0+$/.test(parentId);
  if (malformed) {
    const ownId = random.slice(0, 32);
    return { traceId: ownId, parentId: undefined, spanId, sampled: isSampled(ownId, sampleRatio) };
  }
  return { traceId, parentId, spanId, sampled: (Number.parseInt(flags ?? '0', 16) & 1) === 1 };
};

/** A part of a trace: the same trace, below its span. */
export const childOf = ({ traceId, spanId, sampled }: Trace): Trace => ({
  traceId,
  parentId: spanId,
  spanId: randomHex().slice(32),
  sampled,
});

/** By the trace id's last 56 bits, which are random (W3C Trace Context 2): whoever decides on them decides alike. */
const isSampled = (traceId: string, ratio: number): boolean =>
  ratio > 0 && Number.parseInt(traceId.slice(18), 16) < ratio * 2 ** 56;

const bytesEach = 24;
const pool = Buffer.alloc(bytesEach * 256);
let poolUsed = pool.length;

/** 48 random hex characters; asked of the system for 256 requests at once, which costs as much as for one. */
const randomHex = (): string => {
  if (poolUsed === pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  poolUsed += bytesEach;
  return pool.toString('hex', poolUsed - bytesEach, poolUsed);
};

/** The `traceparent` that names our span: for the answer and for calls to other services. */
export const traceparentOf = (trace: Trace): string =>
  `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`;
