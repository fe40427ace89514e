import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Answer } from './book.ts';
import { sign } from './signature.ts';

type Options = { florinUrl: string | undefined; secret: string; now: () => Date };

/** How long after a failure a notice is sent again. */
const pausesMs = [200, 1_000, 5_000];

/** Tells Florin by itself how operations ended, at `/callbacks/http`. */
export const openNotices = ({ florinUrl: given, secret, now }: Options) => {
  let florinUrl = given;
  const underway = new Set<Promise<unknown>>();
  const stopping = new AbortController();

  const send = async (answer: Answer, id: string): Promise<number> => {
    const body = JSON.stringify({ type: 'operation.updated', ...answer });
    const headers = { 'content-type': 'application/json', ...sign(secret, { id, at: now(), body }) };
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(10_000)]);
    const reply = await fetch(`${florinUrl}/callbacks/http`, { method: 'POST', headers, body, signal });
    await reply.arrayBuffer();
    return reply.status;
  };

  /** The same id each time: whoever has it already knows it for a repetition. */
  const sendUntilTaken = async (answer: Answer, id: string): Promise<void> => {
    for (const pauseMs of [...pausesMs, 0]) {
      const status = await send(answer, id).catch(() => 0);
      if ((status >= 200 && status < 300) || pauseMs === 0 || stopping.signal.aborted) return;
      await wait(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };

  return {
    /** Sends a notice and waits until it was taken, or given up. Does nothing where no Florin is known. */
    tell: async (answer: Answer, id = `notice_${randomUUID()}`): Promise<void> => {
      if (florinUrl === undefined || answer.outcome === 'absent') return;
      const telling = sendUntilTaken(answer, id);
      underway.add(telling);
      await telling.finally(() => underway.delete(telling));
    },
    /** Sends a notice once and gives the status of the answer. */
    tellOnce: (answer: Answer, id: string): Promise<number> => send(answer, id),
    /** Where Florin is, when it is known only later. */
    tellAt: (url: string): void => {
      florinUrl = url;
    },
    stop: async (): Promise<void> => {
      stopping.abort();
      await Promise.allSettled(underway);
    },
  };
};

export type Notices = ReturnType<typeof openNotices>;
