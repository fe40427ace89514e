import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { manualClock } from './clock.ts';
import { openLogFile, type LogFile } from './log-file.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'florin-log-file-'));
  file = join(folder, 'application.log');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type State = { error: unknown } | { linesLost: number };

const opened = (filesKept = 30) => {
  const clock = manualClock('2026-11-22T08:00:00Z');
  const states: State[] = [];
  let lost = 0;
  const log = openLogFile({
    file,
    filesKept,
    clock,
    onState: (state) => states.push(state),
    onLost: (lines) => (lost += lines),
  });
  return { log, clock, states, lost: () => lost };
};

const write = async (log: LogFile, ...lines: string[]): Promise<void> => {
  for (const line of lines) log.write(`${line}\n`);
  await log.flush();
};

const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
const names = async (): Promise<string[]> => (await readdir(folder)).sort();

describe('a new day', () => {
  test("puts yesterday's lines aside under the name of guide 000, and begins anew", async () => {
    const { log, clock } = opened();
    await write(log, 'one', 'two');
    clock.set('2026-11-22T23:59:59.999Z');
    await write(log, 'three');
    clock.set('2026-11-23T00:00:00Z');
    await write(log, 'four');
    expect(await names()).toEqual(['application.2026-11-22.log', 'application.log']);
    expect(await read('application.2026-11-22.log')).toBe('one\ntwo\nthree\n');
    expect(await read('application.log')).toBe('four\n');
  });

  test('keeps 30 files of past days, of this log only', async () => {
    const others = ['other.2020-01-01.log', 'application.old.log', 'application.2020-01-01.log.gz'];
    for (const name of others) await writeFile(join(folder, name), '');
    const { log, clock } = opened(30);
    for (let day = 0; day < 40; day += 1) {
      await write(log, `day ${day}`);
      clock.advance(86_400_000);
    }
    const kept = (await names()).filter((name) => !others.includes(name));
    expect(kept).toHaveLength(31);
    expect(kept.slice(0, 1)).toEqual(['application.2026-12-01.log']);
    expect(await read('application.2026-12-30.log')).toBe('day 38\n');
    expect(await read('application.log')).toBe('day 39\n');
    expect(await names()).toEqual(expect.arrayContaining(others));
  });

  test('that began while no process ran is seen at the next start', async () => {
    await writeFile(file, 'yesterday\n');
    await utimes(file, new Date('2026-11-20T23:00:00Z'), new Date('2026-11-20T23:00:00Z'));
    const { log } = opened();
    await write(log, 'today');
    expect(await read('application.2026-11-20.log')).toBe('yesterday\n');
    expect(await read('application.log')).toBe('today\n');
  });

  test('two processes that write to one file lose no line', async () => {
    const [first, second] = [opened(), opened()];
    await write(first.log, 'a1');
    await write(second.log, 'b1');
    for (const { clock } of [first, second]) clock.set('2026-11-23T08:00:00Z');
    await write(first.log, 'a2');
    await write(second.log, 'b2');
    expect(await read('application.2026-11-22.log')).toBe('a1\nb1\n');
    expect(await read('application.log')).toBe('a2\nb2\n');
  });

  test('replaces nothing that lies there already', async () => {
    await writeFile(join(folder, 'application.2026-11-22.log'), 'precious\n');
    const { log, clock } = opened();
    await write(log, 'one');
    clock.set('2026-11-23T08:00:00Z');
    await write(log, 'two');
    expect(await read('application.2026-11-22.log')).toBe('precious\n');
    expect(await read('application.log')).toBe('one\ntwo\n');
  });
});

describe('trouble', () => {
  test('a folder that can not be made loses lines, says so once, and is tried again', async () => {
    const blocked = join(folder, 'logs');
    await writeFile(blocked, 'a file where the folder should be');
    file = join(blocked, 'application.log');
    const { log, clock, states, lost } = opened();
    await write(log, 'one');
    await write(log, 'two', 'three');
    expect(lost()).toBe(3);
    expect(states).toEqual([{ error: expect.objectContaining({ code: 'EEXIST' }) }]);
    await rm(blocked);
    await write(log, 'too early');
    clock.advance(5_000);
    await write(log, 'four');
    expect(states.slice(1)).toEqual([{ linesLost: 4 }]);
    expect((await readFile(file, 'utf8')).trim()).toBe('four');
  });

  test('after a moved file lines go to a new one once it is told', async () => {
    const { log } = opened();
    await write(log, 'one');
    await rename(file, `${file}.1`);
    await write(log, 'two');
    log.reopen();
    await write(log, 'three');
    expect(await read('application.log.1')).toBe('one\ntwo\n');
    expect(await read('application.log')).toBe('three\n');
  });

  test('lines given in one moment arrive in their order', async () => {
    const { log } = opened();
    const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index}`);
    for (const line of lines) log.write(`${line}\n`);
    log.reopen();
    await log.flush();
    expect(await read('application.log')).toBe(`${lines.join('\n')}\n`);
  });

  test.skipIf(process.getuid?.() === 0)('a folder that may not be written', async () => {
    const closed = join(folder, 'closed');
    await mkdir(closed);
    await chmod(closed, 0o500);
    file = join(closed, 'application.log');
    const { log, lost } = opened();
    await write(log, 'one');
    expect(lost()).toBe(1);
  });
});
