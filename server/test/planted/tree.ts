import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { rootDirectory } from '../../src/lib/config/config.ts';
import { withBug, type Bug } from './bug.ts';

/** A copy of the sources in which bugs can be planted; gone at the end. */
export type Tree = AsyncDisposable & {
  folder: string;
  /** Runs with a bug in it, and takes it out again. @throws Error when the bug's place is not there exactly once */
  planted<T>(bug: Bug, run: () => Promise<T>): Promise<T>;
};

/** What is no source, or somebody's secret. */
const left = new Set(['node_modules', '.git', '.florin', 'certs', 'coverage']);

/** Copies the sources to a temporary folder. */
export const copyTree = async (): Promise<Tree> => {
  const folder = await mkdtemp(join(tmpdir(), 'florin-planted-'));
  await cp(rootDirectory, folder, { recursive: true, filter: (path) => !left.has(basename(path)) });
  await linkModules('.', folder);
  await linkModules('server', folder);
  return {
    folder,
    planted: async (bug, run) => {
      const file = join(folder, bug.file);
      const source = await readFile(file, 'utf8');
      await writeFile(file, withBug(bug, source));
      try {
        return await run();
      } finally {
        await writeFile(file, source);
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
};

/** Links the packages one by one: what tools keep beside them, such as compiled copies of our sources, is each tree's own. */
const linkModules = async (workspace: string, folder: string): Promise<void> => {
  const modules = join(rootDirectory, workspace, 'node_modules');
  if (!existsSync(modules)) return;
  await mkdir(join(folder, workspace, 'node_modules'), { recursive: true });
  for (const name of await readdir(modules)) {
    if (name.startsWith('.') && name !== '.bin') continue;
    await symlink(join(modules, name), join(folder, workspace, 'node_modules', name));
  }
};
