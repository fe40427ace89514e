import type { Authenticator } from './authenticate.ts';
import type { Directory, UsageReport } from './directory.ts';
import { usageMax } from './directory.ts';

/** Where the core tells every edge to ask for revocations at once; whoever does not hear it asks within a second. */
export const revocationChannel = 'florin:revocations';

const pollEveryMs = 1_000;
const reportEveryMs = 30_000;

/** Keeps an edge's caches true: hears every second what was revoked, and tells now and then what was used. */
export type Watch = {
  /** Asks for revocations and applies them. Does nothing while an earlier call is still running. */
  poll(): Promise<void>;
  /** Notes that a credential was used. */
  noteUse(actor: string, at: Date): void;
  /** Tells the core when credentials were last used. */
  reportUse(): Promise<void>;
  start(): void;
  /** Stops the timers and reports what is left. */
  stop(): Promise<void>;
};

type Parts = {
  directory: Directory;
  authenticator: Authenticator;
  /** Told what failed; the next turn tries again. */
  onFailure: (error: unknown, what: string) => void;
};

export const watch = ({ directory, authenticator, onFailure }: Parts): Watch => {
  const used = new Map<string, Date>();
  const timers: NodeJS.Timeout[] = [];
  let last: string | undefined;
  let polling: Promise<void> | undefined;

  const catchUp = async (): Promise<void> => {
    const isFirst = last === undefined;
    const next = await directory.revocationsSince(last);
    // Before the first answer there was no point to hear revocations from: what was kept until then may be one.
    if (isFirst) authenticator.forgetAll();
    authenticator.forget(next.revocations);
    const moved = next.last !== last;
    last = next.last;
    if (!isFirst && moved) await catchUp();
  };

  const poll = (): Promise<void> =>
    (polling ??= catchUp()
      .catch((error: unknown) => onFailure(error, 'revocations could not be read'))
      .finally(() => {
        polling = undefined;
      }));

  const reportUse = async (): Promise<void> => {
    while (used.size > 0) {
      const batch = [...used].slice(0, usageMax);
      for (const [actor] of batch) used.delete(actor);
      try {
        await directory.recordUsage(reportOf(batch));
      } catch (error) {
        onFailure(error, 'the use of credentials could not be recorded');
        return;
      }
    }
  };

  return {
    poll,
    noteUse: (actor, at) => {
      used.set(actor, at);
    },
    reportUse,
    start: () => {
      timers.push(
        setInterval(() => void poll(), pollEveryMs),
        setInterval(() => void reportUse(), reportEveryMs),
      );
      for (const timer of timers) timer.unref();
    },
    stop: async () => {
      for (const timer of timers.splice(0)) clearInterval(timer);
      await polling;
      await reportUse();
    },
  };
};

/** Actors are `client:<id>` and `api_key:<id>`, as `Caller` has them. */
const reportOf = (batch: readonly [actor: string, at: Date][]): UsageReport => {
  const report: UsageReport = { clients: [], apiKeys: [] };
  for (const [actor, time] of batch) {
    const at = time.toISOString();
    const [kind, id = ''] = actor.split(':', 2);
    if (kind === 'client') report.clients.push({ clientId: id, at });
    // The part behind `api_key:` is the key's public id.
    if (kind === 'api_key') report.apiKeys.push({ id: id as `key_${string}`, at });
  }
  return report;
};
