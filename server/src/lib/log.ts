import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { systemClock, type Clock } from './clock.ts';
import type { Level } from './config/kinds.ts';
import { openLogFile, type LogFile } from './log-file.ts';
import { openOutput } from './log-output.ts';
import { redactLine } from './redact.ts';

export type Log = Logger;

/** `Config['log']` fits it. */
export type LogSettings = {
  level: Level;
  /** By module; `*` is every module. */
  levels: Readonly<Record<string, Level>>;
  /** Gets every line too, as JSON; begins anew each day. */
  file?: string | undefined;
  /** Files of past days that are kept, 30 unless given. */
  filesKept?: number;
  format: 'json' | 'pretty';
};

/**
 * Opens the log of a process: JSON lines (`level`, `time`, `service`, `message` and the given fields) on the
 * standard output, or readable ones. No line holds a secret or a card number, wherever it was planted (PCI DSS 3.3).
 * A `log.file` that can't be written costs its lines, which the standard output has too.
 */
export const createLog = ({ log: settings }: { log: LogSettings }, sinks: Sinks): Log => {
  const { service, destination } = sinks;
  const options = {
    level: settings.levels['*'] ?? settings.level,
    base: { service },
    messageKey: 'message',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
    hooks: { streamWrite: redactLine },
  };
  const standard =
    settings.format === 'pretty' ? readable(destination) : (destination ?? openOutput(standardOutput));
  if (settings.file === undefined) return withLevels(pino(options, standard), settings.levels);
  const file = openFile(settings.file, settings.filesKept ?? 30, sinks, () => log);
  const both = [standard, file].map((stream) => ({ stream, level: 'trace' as const }));
  const log = Object.assign(withLevels(pino(options, pino.multistream(both)), settings.levels), {
    [fileOf]: file,
  });
  return log;
};

type Sinks = {
  service: string;
  /** Instead of the standard output. */
  destination?: DestinationStream | undefined;
  /** For the days of `log.file`. */
  clock?: Clock;
  /** Told of lines that are not in `log.file`. */
  onLinesLost?: (lines: number) => void;
};

/** Waits until `log.file` has every line. The standard output is written at the end of the process by itself. */
export const flushLog = async (log: Log): Promise<void> => {
  // `createLog` put it there.
  await (Reflect.get(log, fileOf) as LogFile | undefined)?.flush();
};

const fileOf = Symbol('the file of a log');

/** Its file descriptor. */
const standardOutput = 1;

/** The log of one module, e.g. `moduleLog(log, 'payments')`: names it in every line and keeps to its own level. */
export const moduleLog = (log: Log, module: string): Log => {
  // `withLevels` put it there.
  const levels = Reflect.get(log, levelsOf) as LogSettings['levels'] | undefined;
  return log.child({ module }, { level: levels?.[module] ?? log.level });
};

const levelsOf = Symbol('levels of modules');

/** Remembers the levels on the log itself: its children, which have it as their prototype, find them too. */
const withLevels = (log: Logger, levels: LogSettings['levels']): Log =>
  Object.assign(log, { [levelsOf]: levels });

/** The file of a log, which tells of its own troubles on the standard output. SIGHUP opens it anew. */
const openFile = (
  path: string,
  filesKept: number,
  { clock = systemClock, onLinesLost = () => undefined }: Sinks,
  log: () => Log,
): LogFile => {
  const file = openLogFile({
    file: path,
    filesKept,
    clock,
    onLost: onLinesLost,
    onState: (state) => {
      if ('error' in state) {
        log().error({ err: state.error, file: path }, 'log.file can’t be written: its lines are only here');
      } else log().warn({ file: path, lines_lost: state.linesLost }, 'log.file is written again');
    },
  });
  process.on('SIGHUP', () => file.reopen());
  return file;
};

/** `2026-11-22 08:30:00 [payments] INFO  message {"field":1}`, in local time. */
const readable = (destination: DestinationStream | undefined): DestinationStream => {
  const output = destination ?? openOutput(standardOutput);
  const format = prettyFactory({
    ...(destination === undefined ? {} : { colorize: false }),
    messageKey: 'message',
    ignore: 'level,time,service,module',
    singleLine: true,
    messageFormat: (line) => {
      const { level, time, module, service, message } = line;
      const head = `${localTime(String(time))} [${String(module ?? service)}] ${String(level).toUpperCase().padEnd(5)}`;
      return `${head} ${typeof message === 'string' ? printable(message) : ''}`;
    },
  });
  return {
    write: (line) =>
      output.write(format(line.trimEnd().replace(controls, (character) => `\\${escaped(character)}`))),
  };
};

const localTime = (time: string): string => {
  const at = new Date(time);
  const parts = [
    at.getFullYear(),
    at.getMonth() + 1,
    at.getDate(),
    at.getHours(),
    at.getMinutes(),
    at.getSeconds(),
  ];
  const [year, month, day, hours, minutes, seconds] = parts.map((part) => String(part).padStart(2, '0'));
  return `${year}-${month}-${day} ${hours}:${minutes}:${seconds}`;
};

/** What a request put into a line must not steer the terminal: control characters are shown, not sent. */
const printable = (text: string): string => text.replace(controls, escaped);

const controls = /[\p{Cc}\u2028\u2029]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

const causesMax = 5;

/** What is told of an error: chosen members only, since drivers hang whole requests and rows on theirs. */
const describeError = (error: unknown, depth = 0): unknown => {
  if (!(error instanceof Error) || depth > causesMax) return error instanceof Error ? error.message : error;
  return {
    type: error.name,
    message: error.message,
    code: 'code' in error ? error.code : undefined,
    stack: error.stack,
    cause: error.cause === undefined ? undefined : describeError(error.cause, depth + 1),
    errors:
      error instanceof AggregateError ? error.errors.map((one) => describeError(one, depth + 1)) : undefined,
  };
};
