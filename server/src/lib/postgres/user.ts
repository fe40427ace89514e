import { spawnSync } from 'node:child_process';

/** The system user that PostgreSQL runs as. */
export type SystemUser = { name: string; uid: number; gid: number };

const ownUser = 'florin';
const existingUsers = ['postgres', 'nobody'];
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

type Run = (command: string, args: string[]) => { status: number | null; stdout: string };

const runCommand: Run = (command, args) => spawnSync(command, args, { encoding: 'utf8', env: environment });

/** Whether this process is root, as which PostgreSQL refuses to run. */
export const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * An unprivileged user for PostgreSQL when we are root: `florin`, made when it is missing; where users can't be made
 * (a read-only system), one that exists. `undefined` when we are not root: then it runs as ourselves.
 */
export const unprivilegedUser = (run: Run = runCommand, root = isRoot()): SystemUser | undefined => {
  if (!root) return undefined;
  const found = findUser(ownUser, run) ?? createUser(run);
  if (found !== undefined) return found;
  for (const name of existingUsers) {
    const existing = findUser(name, run);
    if (existing !== undefined) return existing;
  }
  throw new Error(
    'PostgreSQL refuses to run as root, and no other user could be made. ' +
      'Start Florin as another user, or set PAYMENTS_DATABASE_HOST and its companions to use a database of your own.',
  );
};

/** How child processes are started as that user. */
export const asUser = (user: SystemUser | undefined): { uid?: number; gid?: number } =>
  user === undefined ? {} : { uid: user.uid, gid: user.gid };

/** Whether a user may enter a folder, through all its parents. Asked of the system, since modes are not all (ACLs). */
export const mayEnter = (user: SystemUser | undefined, folder: string): boolean => {
  const options = { cwd: '/', env: environment, ...asUser(user) };
  return spawnSync('/bin/sh', ['-c', 'test -x "$1"', 'sh', folder], options).status === 0;
};

const findUser = (name: string, run: Run): SystemUser | undefined => {
  const [uid, gid] = [run('id', ['-u', name]), run('id', ['-g', name])];
  if (uid.status !== 0 || gid.status !== 0) return undefined;
  return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) };
};

const createUser = (run: Run): SystemUser | undefined => {
  const home = ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'];
  run('useradd', ['--system', '--user-group', ...home, ownUser]);
  // Another start may have made it in the same moment, so what counts is that it is there.
  return findUser(ownUser, run);
};
