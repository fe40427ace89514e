import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { AppError } from '../errors.ts';
import { newId } from '../ids.ts';
import { unmatchedRoute, type Metrics } from '../metrics.ts';
import { givenRequestId, securityHeaders } from './headers.ts';
import { problemHeaders, problemMediaType, problemOf } from './problem.ts';

type Options = {
  /** How many requests are worked on at once. */
  requestsMax: number;
  /** Who sent a request, as far as its header fields tell without proof. */
  senderOf(headers: IncomingHttpHeaders): string;
  /** Whether a path is answered however many others are: health and metrics. */
  isExempt(path: string): boolean;
  onRefused(request: IncomingMessage): void;
};

/** How long the work for a client that left may go on until its place is free again, whatever became of it. */
const abandonedMs = 60_000;

/**
 * A refusal is answered this much later, at no cost: a client that comes back at once would otherwise be refused
 * thousands of times a second, and those who have a place would wait for that.
 */
const refusalDelayMs = 500;
/** How many refusals wait, for each place. */
const heldPerPlace = 4;

/**
 * Bounds how many requests a server works on at once. One that finds no place is answered 503 before anything is read
 * or proven, which costs a tenth of an ordinary answer: at five times what a process can do, it has to say no four
 * times for each answer it gives, and time to spare for that.
 *
 * When all places are taken, those whose senders have less than their equal share still get in, up to twice the bound:
 * one sender's flood is refused, not its neighbours.
 */
export const boundRequests = ({ requestsMax, senderOf, isExempt, onRefused }: Options) => {
  const bySender = new Map<string, number>();
  const leaving = new WeakMap<ServerResponse, () => void>();
  let total = 0;
  let held = 0;

  const hasPlace = (own: number): boolean =>
    total < requestsMax || (own * bySender.size < requestsMax && total < 2 * requestsMax);

  const enter = (sender: string, own: number, response: ServerResponse): void => {
    bySender.set(sender, own + 1);
    total += 1;
    const leave = (): void => {
      if (!leaving.delete(response)) return;
      total -= 1;
      const left = (bySender.get(sender) ?? 1) - 1;
      if (left === 0) bySender.delete(sender);
      else bySender.set(sender, left);
    };
    leaving.set(response, leave);
    response.once('close', () => {
      if (response.headersSent) leave();
      // The client left before its answer, and the work for it goes on: it keeps its place until `answered`.
      else setTimeout(leave, abandonedMs).unref();
    });
  };

  /** Refuses a request after a while, or at once if too many wait for their refusal already. */
  const hold = (request: IncomingMessage, response: ServerResponse): void => {
    if (held >= requestsMax * heldPerPlace) {
      refuse(request, response);
      return;
    }
    held += 1;
    setTimeout(() => {
      held -= 1;
      if (!response.destroyed) refuse(request, response);
    }, refusalDelayMs);
  };

  return {
    /** The handler of a server that has this bound. */
    guard:
      (handle: RequestListener): RequestListener =>
      (request, response) => {
        if (!isExempt(pathOf(request))) {
          const sender = senderOf(request.headers);
          const own = bySender.get(sender) ?? 0;
          if (!hasPlace(own)) {
            onRefused(request);
            hold(request, response);
            return;
          }
          enter(sender, own, response);
        }
        handle(request, response);
      },
    /** Tells that the work for a request is over, also when nobody is there any more to read its answer. */
    answered(response: ServerResponse): void {
      if (response.destroyed) leaving.get(response)?.();
    },
  };
};

const pathOf = ({ url = '' }: IncomingMessage): string => {
  const end = url.indexOf('?');
  return end === -1 ? url : url.slice(0, end);
};

/** Made once: a flood would spend more on its stack traces than on everything else. */
const overloaded = new AppError('overloaded', 'Too many requests are being worked on. Try again shortly.', {
  retryAfterS: 1,
});

const refuse = (request: IncomingMessage, response: ServerResponse): void => {
  const requestId = givenRequestId(request.headers['x-request-id']) ?? newId('request');
  const body = JSON.stringify(problemOf(overloaded, requestId));
  response.writeHead(overloaded.status, {
    ...securityHeaders,
    ...problemHeaders(overloaded),
    'x-request-id': requestId,
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
};

export type RefusalReason = 'requests' | 'connections';

/** How often the log tells of refusals: a line for each would be work for a process that has too much of it. */
const reportEveryMs = 10_000;

/** Counts what is refused for lack of room, and says every ten seconds how much that was. */
export const countRefusals = ({ log, metrics }: { log: Logger; metrics: Metrics }) => {
  let sinceReport: Partial<Record<RefusalReason, number>> | undefined;
  return (reason: RefusalReason, request?: IncomingMessage): void => {
    metrics.refused.inc({ reason });
    if (request) {
      metrics.reject('overloaded');
      const { method = '' } = request;
      metrics.observe({ method, route: unmatchedRoute, status: overloaded.status, durationMs: 0 });
    }
    if (sinceReport === undefined) {
      sinceReport = {};
      setTimeout(() => {
        log.warn({ refused: sinceReport }, 'refused for lack of room in the last 10 seconds');
        sinceReport = undefined;
      }, reportEveryMs).unref();
    }
    sinceReport[reason] = (sinceReport[reason] ?? 0) + 1;
  };
};
