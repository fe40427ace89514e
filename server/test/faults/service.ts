import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rootDirectory } from '../../src/lib/config/config.ts';
import type { Block } from './control.ts';

/** A service as a process of its own, `florin serve NAME`, which never ends by itself. */
export type Service = AsyncDisposable & {
  /** Blocks its event loop; resolves when it goes on. */
  block(ms: number): Promise<void>;
  /** What is wrong with it: that it ended. */
  fault(): Promise<string | undefined>;
};

type Options = { name: string; env: Record<string, string>; logFile: string };

const control = pathToFileURL(join(import.meta.dirname, 'control.ts')).href;
const main = join(rootDirectory, 'server/src/cli/main.ts');

export const startService = ({ name, env, logFile }: Options): Service => {
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, ['--import', control, main, 'serve', name], {
    cwd: rootDirectory,
    env,
    stdio: ['ignore', log, log, 'ipc'],
  });
  const ended = once(child, 'exit');
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    block: async (blockMs) => {
      const done = once(child, 'message');
      child.send({ blockMs } satisfies Block);
      await done;
    },
    fault: async () => {
      if (!hasEnded()) return undefined;
      const text = await readFile(logFile, 'utf8');
      return `${name} ended by itself (${child.signalCode ?? child.exitCode}):\n${text.slice(-2_000)}`;
    },
    [Symbol.asyncDispose]: async () => {
      if (hasEnded()) return;
      child.kill('SIGKILL');
      await ended;
    },
  };
};
