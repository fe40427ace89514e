import { completeEvents, type DescribeCustomers } from '../events/complete.ts';
import { envelopeOf, type EventRecord } from '../events/events.ts';
import { endOfEvents, followEvents } from '../events/store.ts';
import type { Clock } from '../lib/clock.ts';
import type { Db } from '../lib/database.ts';
import { OutboundError, type Outbound } from '../lib/outbound/outbound.ts';
import type { Secret } from '../lib/secret.ts';
import type { Wake } from '../lib/wake.ts';
import { signedHeaders } from '../webhooks/signature.ts';

/** What forwarding works with. */
export type Forwarding = {
  db: Db;
  clock: Clock;
  outbound: Pick<Outbound, 'send'>;
  describeCustomers: DescribeCustomers;
  /** Where to, and the secret that signs. */
  url: string;
  secret: Secret;
  timeoutMs: number;
  /** Told a line for each. */
  print(line: string): void;
};

/** How often to look when nobody says that there is something new. */
const pollMs = 500;

/** Forwards what happens to these tenants from now on, until the signal aborts. What is not accepted is not tried again. */
export const forwardEvents = async (
  parts: Forwarding,
  { tenantIds, types }: { tenantIds: readonly number[]; types: readonly string[] },
  { wake, signal }: { wake: Wake; signal: AbortSignal },
): Promise<void> => {
  let place = await endOfEvents(parts.db);
  while (!signal.aborted) {
    const filter = { tenantIds: [...tenantIds], type: undefined, since: undefined };
    const { events, next } = await followEvents(parts.db, filter, place);
    for (const event of events) if (isWanted(event, types)) await forward(parts, event);
    if (next === place) await wake.next(pollMs, signal);
    place = next;
  }
};

const isWanted = ({ type }: EventRecord, types: readonly string[]): boolean =>
  types.some((each) => each === '*' || each === type || each === `${type.split('.')[0]}.*`);

/** Sends one event as a webhook is sent, and prints what the receiver said. Gives whether it was accepted. */
export const forward = async (parts: Forwarding, event: EventRecord): Promise<boolean> => {
  const { clock, outbound, describeCustomers, url, secret, timeoutMs, print } = parts;
  const [complete = event] = await completeEvents(describeCustomers, [event]);
  const body = JSON.stringify(envelopeOf(complete, { payload: 'full' }));
  const signed = signedHeaders([secret], { id: event.id, at: clock.now(), body });
  const headers = { 'content-type': 'application/json', 'user-agent': 'Florin-Webhooks/listen', ...signed };
  const what = `${clock.now().toISOString()}  ${event.type.padEnd(30)}  ${event.id}`;
  try {
    const answer = await outbound.send({
      url,
      method: 'POST',
      headers,
      body,
      timeoutMs,
      answerMaxBytes: 1_024,
    });
    print(`${what}  → ${answer.status} in ${answer.durationMs} ms`);
    return answer.status >= 200 && answer.status < 300;
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    print(`${what}  → ${error.message}`);
    return false;
  }
};
