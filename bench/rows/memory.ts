import { setTimeout as delay } from 'node:timers/promises';
import { residentMb } from '../machine.ts';
import { median } from '../statistics.ts';
import { measured, paymentsPerSecond, type Sample, type Stage } from '../stage.ts';

const everyMs = 2_000;

/** How much the last fifth of the time may lie above the second one, in which everything has been used once. */
const growthMax = 1.1;

/**
 * The resident memory of `sapi` behind an `eapi` while payments of all vendors come, read every two seconds. Flat means
 * that it did not go on growing.
 */
export const memory = async (stage: Stage): Promise<{ samples: Sample[]; holds: boolean }> => {
  const { eapi, sapi } = await stage.pair();
  const seconds = stage.options.memorySeconds;
  const read: number[] = [];
  const whole = await measured(stage, [eapi, sapi], async () => {
    const isOver = new AbortController();
    const reading = readMemory(sapi.pid, isOver.signal, (megabytes) => {
      read.push(megabytes);
      if (read.length % 30 === 0) for (const service of [eapi, sapi]) service.forgetLog();
    });
    const load = paymentsPerSecond(stage, eapi.url, { clients: 64, seconds });
    const { rate } = await load.finally(() => isOver.abort());
    await reading;
    return { value: rate };
  });
  const fifth = Math.max(1, Math.floor(read.length / 5));
  const [early, late] = [median(read.slice(fifth, 2 * fifth)), median(read.slice(-fifth))];
  const isFlat = late <= early * growthMax;
  const note = `${isFlat ? 'flat' : 'growing'}: ${Math.round(early)} MB in the second fifth of ${seconds} s, ${Math.round(late)} MB in the last; ${Math.round(whole.value)} payments/s`;
  return { samples: read.map((value) => ({ value, cpu: whole.cpu, note })), holds: isFlat };
};

const readMemory = async (
  pid: number,
  isOver: AbortSignal,
  tell: (megabytes: number) => void,
): Promise<void> => {
  while (!isOver.aborted) {
    const megabytes = residentMb(pid);
    if (megabytes === undefined) throw new Error('resident memory can be read on Linux only');
    tell(megabytes);
    await delay(everyMs, undefined, { signal: isOver }).catch(() => undefined);
  }
};
