import type { Clock } from '../lib/clock.ts';
import { release as releaseName } from '../lib/release.ts';
import { OutboundError, type Outbound, type OutboundAnswer } from '../lib/outbound/outbound.ts';
import { redactText } from '../lib/redact.ts';
import type { Body } from './bodies.ts';
import { outcomeOf, type Outcome, type Retries } from './outcome.ts';
import type { Attempt, Claim } from './queue-store.ts';
import type { SendingEndpoint } from './secrets.ts';
import { signedHeaders } from './signature.ts';

/** What it takes to send one delivery. */
export type Delivering = Retries & {
  outbound: Pick<Outbound, 'send'>;
  clock: Clock;
  timeoutMs: number;
};

/** What is kept of an answer: its first kibibyte, and so much of its header. */
const answerMax = 1_024;
const headerMax = 4_096;

/** What every attempt of every delivery is sent with. */
export const fixedHeaders = {
  'content-type': 'application/json',
  'user-agent': `Florin-Webhooks/${releaseName().split('@')[1] ?? ''}`,
} as const;

/** An attempt, with what it means for its endpoint: one that was not even sent says nothing of it. */
export type Made = Attempt & Pick<Outcome, 'isGone'> & { isSent: boolean };

/** Sends one delivery and says what came of it. @throws never for what the receiver did */
export const deliver = async (
  { outbound, clock, timeoutMs, ...retries }: Delivering,
  claim: Claim,
  { endpoint, secrets }: SendingEndpoint,
  body: Body,
): Promise<Made> => {
  const at = clock.now();
  const bytes = body.bytes(endpoint.payload);
  const signed = signedHeaders(secrets, { id: body.event.id, at, body: bytes });
  const headers = { ...fixedHeaders, ...signed };
  const answer = await outbound
    .send({ url: endpoint.url, method: 'POST', headers, body: bytes, timeoutMs, answerMaxBytes: answerMax })
    .catch((error: unknown) => {
      if (error instanceof OutboundError) return error;
      throw error;
    });
  const tried = { attempts: claim.attempts, now: clock.now() };
  const outcome = outcomeOf(answer, tried, retries);
  return {
    ...outcome,
    isSent: true,
    claim,
    at,
    durationMs: answer.durationMs,
    ...keptOf(answer, body.personal),
  };
};

/** The attempt of a delivery that could not even be sent: it is not tried again until somebody says so. */
export const notSent = (claim: Claim, error: string, now: Date): Made => ({
  claim,
  state: 'failed',
  dueAt: now,
  at: now,
  status: undefined,
  error,
  isGone: false,
  isSent: false,
  durationMs: 0,
  answerHeaders: undefined,
  answer: undefined,
});

type Kept = Pick<Attempt, 'answerHeaders' | 'answer'>;

/** What is shown of an answer. A receiver may send back what it was sent: card numbers and personal data are kept nowhere. */
const keptOf = (answer: OutboundAnswer | OutboundError, personal: readonly string[]): Kept => {
  if (answer instanceof OutboundError) return { answerHeaders: undefined, answer: undefined };
  const clean = (text: string): string =>
    redactText(personal.reduce((cleaned, value) => cleaned.replaceAll(value, '[REDACTED]'), text));
  return { answerHeaders: keptHeaders(answer.headers, clean), answer: keptBody(answer.body, clean) };
};

const keptHeaders = (
  headers: Readonly<Record<string, string>>,
  clean: (text: string) => string,
): Record<string, string> => {
  const kept: Record<string, string> = {};
  let length = 0;
  for (const [name, value] of Object.entries(headers)) {
    length += name.length + value.length;
    if (length > headerMax) break;
    kept[name] = clean(value);
  }
  return kept;
};

const keptBody = (body: Buffer, clean: (text: string) => string): Buffer | undefined => {
  if (body.length === 0) return undefined;
  const text = body.toString('utf8');
  const cleaned = clean(text);
  return (cleaned === text ? body : Buffer.from(cleaned)).subarray(0, answerMax);
};
