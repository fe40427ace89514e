import { appendFileSync } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { DestinationStream } from 'pino';
import type { Clock } from './clock.ts';

/** A file of log lines. Writing to it never throws and never waits. */
export type LogFile = DestinationStream & {
  /** Opens the file anew, after somebody moved it. */
  reopen(): void;
  /** Waits until every line given so far is written, or lost. */
  flush(): Promise<void>;
};

type Options = {
  file: string;
  /** Files of past days that are kept. */
  filesKept: number;
  clock: Clock;
  /** Told once when writing begins to fail, and once when it works again. */
  onState(state: { error: unknown } | { linesLost: number }): void;
  onLost(lines: number): void;
};

/** Lines that may wait for the disk; what comes beyond is lost. */
const waitingBytesMax = 16 * 1024 * 1024;
/** How long the file is left alone after a failure. */
const pauseMs = 5_000;

/**
 * Appends lines to a file that begins anew each day: yesterday's `app.log` becomes `app.2026-11-21.log`. Days are those
 * of UTC, as the times in the lines are. A disk that is full and a folder that can't be written cost lines, never more.
 */
export const openLogFile = (options: Options): LogFile => {
  const { clock, onState, onLost } = options;
  let waiting: string[] = [];
  let waitingBytes = 0;
  let writing: Promise<void> | undefined;
  let current: OpenFile | undefined;
  let isStale = false;
  let failedAt: number | undefined;
  let linesLost = 0;

  const lose = (lines: number): void => {
    linesLost += lines;
    onLost(lines);
  };

  const fail = (error: unknown, lines: number): void => {
    lose(lines);
    if (failedAt === undefined) onState({ error });
    failedAt = clock.now().getTime();
  };

  const recover = (): void => {
    failedAt = undefined;
    onState({ linesLost });
    linesLost = 0;
  };

  /** The file of today, and not one that was moved away. */
  const today = async (): Promise<FileHandle> => {
    if (isStale || current?.day !== dayOf(clock.now())) {
      isStale = false;
      current = await openToday(options, current);
    }
    return current.handle;
  };

  const hasWork = (): boolean => waiting.length > 0 || isStale;

  const take = (): number => {
    const lines = waiting.length;
    waiting = [];
    waitingBytes = 0;
    return lines;
  };

  const writeOut = async (): Promise<void> => {
    let taken = 0;
    while (hasWork()) {
      try {
        const handle = await today();
        // What was half written before a failure must not swallow the next line.
        const text = `${failedAt === undefined ? '' : '\n'}${waiting.join('')}`;
        taken = take();
        await handle.appendFile(text);
        if (failedAt !== undefined) recover();
      } catch (error) {
        fail(error, taken + take());
      }
      taken = 0;
    }
    writing = undefined;
  };

  const start = (): void => {
    writing ??= Promise.resolve().then(writeOut);
  };

  const write = (line: string): void => {
    const isPaused = failedAt !== undefined && clock.now().getTime() - failedAt < pauseMs;
    if (isPaused || waitingBytes + line.length > waitingBytesMax) return lose(1);
    waiting.push(line);
    waitingBytes += line.length;
    start();
  };

  const flush = async (): Promise<void> => {
    await writing;
  };

  const reopen = (): void => {
    isStale = true;
    start();
  };

  process.on('exit', () => {
    if (waiting.length > 0) writeLast(current?.handle.fd ?? options.file, waiting.join(''));
  });
  return { write, flush, reopen };
};

type OpenFile = { handle: FileHandle; day: string };

const openToday = async (options: Options, last: OpenFile | undefined): Promise<OpenFile> => {
  const { file, clock } = options;
  const day = dayOf(clock.now());
  await mkdir(dirname(file), { recursive: true });
  await putAside(file, day, last);
  const handle = await open(file, 'a', 0o640);
  await last?.handle.close();
  await removeOldest(options).catch(() => undefined);
  return { handle, day };
};

/** Gives the file of a past day its day's name, unless that was done already by another process that writes to it. */
const putAside = async (file: string, today: string, last: OpenFile | undefined): Promise<void> => {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return;
  const day = last?.day ?? dayOf(found.mtime);
  const isOurs = last === undefined || (await last.handle.stat()).ino === found.ino;
  if (!isOurs || day >= today) return;
  const aside = named(file, day);
  try {
    // Unlike a rename, a link never replaces what another process has put aside.
    await link(file, aside);
    await unlink(file);
  } catch (error) {
    const exists = (await stat(aside).catch(() => undefined)) !== undefined;
    if (!exists) await rename(file, aside);
    else if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
};

const removeOldest = async ({ file, filesKept }: Options): Promise<void> => {
  const folder = dirname(file);
  const [start = '', end = ''] = basename(named(file, '\0')).split('\0');
  const past = (await readdir(folder)).filter(
    (name) =>
      name.startsWith(start) &&
      name.endsWith(end) &&
      /^\d{4}-\d\d-\d\d$/.test(name.slice(start.length, name.length - end.length)),
  );
  const tooOld = past.sort().slice(0, Math.max(0, past.length - filesKept));
  for (const name of tooOld) await rm(join(folder, name));
};

/** `app.log` of a day: `app.2026-11-21.log`. */
const named = (file: string, day: string): string => {
  const extension = extname(file);
  return `${file.slice(0, file.length - extension.length)}.${day}${extension}`;
};

const dayOf = (time: Date): string => time.toISOString().slice(0, 10);

const writeLast = (file: number | string, text: string): void => {
  try {
    appendFileSync(file, text, { mode: 0o640 });
  } catch {
    // The process ends: nobody is left to tell.
  }
};
