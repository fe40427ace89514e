import { globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** Debian's libfaketime, loaded before a program: then the program reads its time from a file. */
const [library] = globSync('/usr/lib/{*/,}faketime/libfaketimeMT.so.1');

/** Whether this machine can't give a process another time; its tests then say so and are left out. */
export const withoutFaketime = library === undefined;
if (withoutFaketime)
  process.stderr.write('Tests with a wrong clock are left out: libfaketime is not installed.\n');

/** The clock of one service. */
export type ServiceClock = {
  /** With what the service has to be started. */
  env: Record<string, string>;
  /** Puts it off by so many seconds; resolves when the service, which answers there, shows it. */
  turn(offS: number, url: string): Promise<void>;
};

export const serviceClock = (home: string, name: string): ServiceClock => {
  if (library === undefined) return { env: {}, turn: () => Promise.reject(new Error('no libfaketime')) };
  const file = join(home, `${name}.clock`);
  const write = (offS: number): void => writeFileSync(file, `${offS < 0 ? '' : '+'}${offS}\n`);
  write(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      // As a clock that is set: what measures durations goes on.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    turn: async (offS, url) => {
      write(offS);
      const giveUpAt = performance.now() + patienceMs;
      while (Math.abs((await offOf(url)) - offS) > toleranceS) {
        if (performance.now() > giveUpAt) throw new Error(`the clock of ${name} was not turned`);
        await wait(50);
      }
    },
  };
};

const toleranceS = 300;
const patienceMs = 30_000;

/** By how many seconds the clock of a service differs from ours. */
const offOf = async (url: string): Promise<number> => {
  const response = await fetch(`${url}/health/live`);
  const { timestamp } = (await response.json()) as { timestamp: string };
  return (Date.parse(timestamp) - Date.now()) / 1000;
};
