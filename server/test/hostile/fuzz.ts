import { plain } from '../../src/lib/openapi/example.ts';
import { makeDocument } from '../../src/services/document.ts';
import type { World } from '../setup/api.ts';
import { maker, typeOf } from '../setup/good-requests.ts';
import { operationsOf, transmit, type Operation, type Received } from '../setup/requests.ts';
import { openMemory } from './fuzz-memory.ts';
import { oracle } from './fuzz-oracle.ts';
import { seeded } from './fuzz-random.ts';
import { nextShot, type Shot } from './fuzz-requests.ts';

export type FuzzOptions = {
  /** Servers on one database; each request goes to one of them. */
  urls: readonly string[];
  /** Where the probes answer. */
  healthUrl: string;
  world: World;
  /** Ids of credentials and vendors that requests must not disable. */
  spared: ReadonlySet<string>;
  headers: Record<string, string>;
  requests: number;
  seed: number;
};

export type FuzzReport = {
  sent: number;
  /** How often each status was answered. */
  statuses: Map<number, number>;
  /** How often each error code was answered. */
  codes: Map<string, number>;
  /** How often each operation succeeded. */
  successes: Map<string, number>;
  /** What is wrong, one of a kind, each with the request that shows it. */
  faults: string[];
};

/** Requests under way at once. They are made before any of them is answered, so that a seed repeats them. */
const atOnce = 8;
const faultsMax = 30;

const document = await makeDocument('0.0.0');

/** Every operation of the API's document. */
export const operations: readonly Operation[] = operationsOf(document);
const problem = plain(plain(plain(plain(document)['components'])['schemas'])['Problem']);

/** Sends random requests for every operation of the document, and holds each answer against it. */
export const fuzz = async (options: FuzzOptions): Promise<FuzzReport> => {
  const random = seeded(options.seed);
  const memory = openMemory(options.world, options.spared);
  const judge = oracle(operations, problem);
  const report: FuzzReport = {
    sent: 0,
    statuses: new Map(),
    codes: new Map(),
    successes: new Map(operations.map(({ id }) => [id, 0])),
    faults: [],
  };
  const kinds = new Set<string>();

  const note = (shot: Shot, url: string, answer: Received, faults: readonly string[]): void => {
    for (const fault of faults) {
      // One request of a kind is enough to find the fault by.
      const kind = `${shot.operation.id} ${fault.replaceAll(/[\w-]*\d[\w-]*/g, '#')}`;
      if (kinds.has(kind)) continue;
      kinds.add(kind);
      if (report.faults.length < faultsMax)
        report.faults.push(
          `${fault}\n  request ${report.sent} to ${url}: ${told(shot)}\n  ${answer.text.slice(0, 600)}`,
        );
    }
  };

  const take = (shot: Shot, url: string, answer: Received): void => {
    const { status, body } = answer;
    report.sent += 1;
    count(report.statuses, status);
    if (status >= 400) count(report.codes, String(body['code']));
    const faults = judge(shot, answer);
    if (status < 300) {
      count(report.successes, shot.operation.id);
      const foreign = memory.learn({ ...shot, operationId: shot.operation.id, body });
      faults.push(...foreign.map((id) => `shows ${id} of another tenant to ${shot.holder.name}`));
    }
    note(shot, url, answer, faults);
  };

  const shoot = async (shot: Shot, url: string): Promise<Received | Error> =>
    transmit({ ...shot, url: (shot.operation.isProbe ? options.healthUrl : url) + shot.path }).catch(
      (error: unknown) => error as Error, // sockets reject with errors
    );

  await succeedOnce(options, take);
  while (report.sent < options.requests) {
    const wave = Array.from({ length: Math.min(atOnce, options.requests - report.sent) }, () => ({
      shot: nextShot(random, memory, operations),
      url: random.pick(options.urls),
    }));
    const answers = await Promise.all(wave.map(({ shot, url }) => shoot(shot, url)));
    for (const [index, { shot, url }] of wave.entries()) {
      const answer = answers[index];
      if (answer && !(answer instanceof Error)) take(shot, url, answer);
      else {
        report.sent += 1;
        note(shot, url, nothing, [`got no answer: ${answer?.message}`]);
      }
    }
  }
  return report;
};

const nothing: Received = { status: 0, headers: {}, text: '', body: {} };

/** One good request for every operation, so that each is known to succeed and objects of every kind exist. */
const succeedOnce = async (
  { urls, healthUrl, headers }: FuzzOptions,
  take: (shot: Shot, url: string, answer: Received) => void,
): Promise<void> => {
  const [url = ''] = urls;
  const make = maker(url);
  const holder = { name: 'a key of the platform', headers, tenant: undefined };
  for (const operation of operations) {
    const good = await make(operation);
    const { path, body } = good;
    const sent = { ...(operation.isPublic ? {} : headers), ...typeOf(good) };
    const shot: Shot = {
      operation,
      holder,
      tenant: undefined,
      method: operation.method,
      path,
      headers: sent,
      body,
    };
    take(shot, url, await transmit({ ...shot, url: (operation.isProbe ? healthUrl : url) + path }));
  }
};

const count = <Key>(counts: Map<Key, number>, key: Key): void =>
  void counts.set(key, (counts.get(key) ?? 0) + 1);

/** A request as a report tells it; the credentials by the name of their holder. */
const told = ({ method, path, headers, body, holder }: Shot): string => {
  const fields = Object.entries(headers).filter(([name]) => !(name in holder.headers));
  const shownHeaders = JSON.stringify(Object.fromEntries(fields)).slice(0, 400);
  const shownBody = body === undefined ? '' : ` ${JSON.stringify(String(body)).slice(0, 400)}`;
  return `${method} ${path.slice(0, 300)} ${shownHeaders}${shownBody} by ${holder.name}`;
};
