import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { markOf } from '../../src/lib/postgres/processes.ts';

/** A small disk of its own, in memory. */
export type Disk = AsyncDisposable & {
  path: string;
  /** Leaves no byte free, until what it gives is called. */
  fill(): () => void;
};

/** Whether this process may mount a disk; its test then says so and is left out. */
export const withoutDisk = process.platform !== 'linux' || process.getuid?.() !== 0;
if (withoutDisk)
  process.stderr.write('The test with a full disk is left out: only root on Linux can mount one.\n');

const sizeMb = 320;

/** Mounts a small disk; undefined where that can't be done. What a killed run leaves there, the next one clears away. */
export const mountDisk = async (): Promise<Disk | undefined> => {
  if (withoutDisk) return undefined;
  const path = await mkdtemp(join(tmpdir(), 'florin-test-disk-'));
  const options = `size=${sizeMb}m,mode=0711`;
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]).status !== 0) {
    await rm(path, { recursive: true });
    return undefined;
  }
  await chmod(path, 0o711);
  await writeFile(join(path, 'owner.json'), JSON.stringify(markOf(process.pid)));
  const ballast = join(path, 'ballast');
  return {
    path,
    fill: () => {
      fill(ballast);
      return () => rmSync(ballast);
    },
    [Symbol.asyncDispose]: async () => {
      spawnSync('umount', ['--lazy', path]);
      await rm(path, { recursive: true, force: true });
    },
  };
};

const fill = (file: string): void => {
  const handle = openSync(file, 'w');
  for (const size of [1_048_576, 4_096]) {
    const block = Buffer.alloc(size, 1);
    try {
      while (writeSync(handle, block) === size);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
  closeSync(handle);
};
