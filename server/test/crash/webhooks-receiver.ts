import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { portOf } from '../../src/lib/http/testing.ts';

/*
 * A process that webhooks are sent to. It is never killed, so what it has seen is what came. Some of what it is sent it
 * refuses, answers never, or reads and hangs up on, the first times that it comes.
 */

/** What it did with a message. Only `accepted` was answered 2xx. */
export type Treatment = 'accepted' | 'refused' | 'ignored' | 'dropped';

/** A message as it came, in the order in which it did. */
export type Arrival = {
  /** The path of the endpoint. */
  endpoint: string;
  /** `webhook-id` of its header. */
  id: string;
  /** Of the event in its body. */
  eventId: string;
  type: string;
  objectId: string | undefined;
  sequence: number | null;
  hasData: boolean;
  /** Whether its signature is that of the endpoint's secret. */
  isVerified: boolean;
  treatment: Treatment;
};

/** What it is told: the secrets by the paths of endpoints; to say everything that came. */
export type Question = { secrets: Readonly<Record<string, string>> } | { arrivals: true };

/** What it says: where it is; how many different messages came; all of them. */
export type Word = { port: number } | { seen: number } | { arrivals: readonly Arrival[] };

const say = (word: Word): void => void process.send?.(word);

let secrets: Readonly<Record<string, string>> = {};
const arrivals: Arrival[] = [];
/** Of what came before its secret was known: that an endpoint was made. */
const unverified: (() => void)[] = [];
/** How often each message came. */
const times = new Map<string, number>();

process.on('message', (question: Question) => {
  if ('arrivals' in question) return say({ arrivals });
  secrets = question.secrets;
  for (const verify of unverified.splice(0)) verify();
});
process.on('disconnect', () => process.exit());

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => take(request, response, Buffer.concat(chunks).toString('utf8')));
});

const take = (request: IncomingMessage, response: ServerResponse, body: string): void => {
  const endpoint = request.url ?? '';
  const id = String(request.headers['webhook-id']);
  const message = `${endpoint} ${id}`;
  const time = (times.get(message) ?? 0) + 1;
  times.set(message, time);
  const treatment = treatmentOf(message, time);
  const arrival = { ...told(body), endpoint, id, isVerified: false, treatment };
  arrivals.push(arrival);
  const verify = (): void => void (arrival.isVerified = isVerified(request, body));
  if (endpoint in secrets) verify();
  else unverified.push(verify);
  if (treatment === 'accepted') response.end('thanks');
  if (treatment === 'refused') response.writeHead(500).end('not now');
  if (treatment === 'dropped') request.socket.destroy();
};

/** How many of 256 messages are treated so, at first. Each is accepted from the third time on, so that all are in the end. */
const shares = { refused: 14, dropped: 10, ignored: 5 };
const faultyTimes = 2;

/** By the message itself, so that it is the same in every run with the same events. */
const treatmentOf = (message: string, time: number): Treatment => {
  const [kind = 0, many = 0] = createHash('sha256').update(message).digest();
  if (time > 1 + (many % faultyTimes)) return 'accepted';
  if (kind < shares.refused) return 'refused';
  if (kind < shares.refused + shares.dropped) return 'dropped';
  return kind < shares.refused + shares.dropped + shares.ignored ? 'ignored' : 'accepted';
};

type Envelope = {
  id: string;
  type: string;
  object: { id: string } | null;
  sequence: number | null;
  data?: unknown;
};

const told = (body: string): Pick<Arrival, 'eventId' | 'type' | 'objectId' | 'sequence' | 'hasData'> => {
  const { id, type, object, sequence, data } = JSON.parse(body) as Envelope;
  return { eventId: id, type, objectId: object?.id, sequence, hasData: data !== undefined };
};

const isVerified = ({ url = '', headers }: IncomingMessage, body: string): boolean => {
  const secret = secrets[url];
  if (secret === undefined) return false;
  try {
    new Webhook(secret).verify(body, headers as Record<string, string>);
    return true;
  } catch {
    return false;
  }
};

/** How often it says how much came. */
const sayEveryMs = 20;

let said = 0;
setInterval(() => {
  if (times.size > said) say({ seen: times.size });
  said = times.size;
}, sayEveryMs);

server.listen(0, '127.0.0.1', () => say({ port: portOf({ server }) }));
