import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { sqlStateOf } from '../database.ts';
import { isRoot, mayEnter, type SystemUser, unprivilegedUser } from './user.ts';

/** Where the files of the embedded database are and who runs it. */
export type Home = {
  /** `.florin/postgres`: passwords, lock, log. Ours alone. */
  notes: string;
  /** The folder that holds `data`; the notes' own, unless PostgreSQL's user can't get there. */
  folder: string;
  user: SystemUser | undefined;
};

/** Where data goes that can't lie in a checkout which PostgreSQL's user may not enter, e.g. one below `/root`. */
export const systemFolder = '/var/lib/florin';

/**
 * Finds or makes the home of the embedded database below `directory`. What was made before is kept, also its owner;
 * data that its owner can't reach any more (a checkout moved below a 0700 folder) moves to `/var/lib/florin`.
 */
export const openHome = async (directory: string): Promise<Home> => {
  const notes = resolve(directory, 'postgres');
  await mkdir(notes, { recursive: true });
  // Others may pass through on their way to the data, but see nothing; every file that is ours alone is 0600.
  if (isRoot()) for (const own of [directory, notes]) await chmod(own, 0o711);
  const elsewhere = await readlink(join(notes, 'elsewhere')).catch(() => undefined);
  const folder = elsewhere ?? notes;
  const user = await ownerOf(join(folder, 'data'));
  if (user === undefined || mayEnter(user, folder)) return { notes, folder, user };
  return { notes, folder: await moveOut(notes), user };
};

/** Who runs the data folder: whoever owns it, else the user that root gives PostgreSQL, else ourselves. */
const ownerOf = async (data: string): Promise<SystemUser | undefined> => {
  const found = await stat(data).catch((error: unknown) => {
    if (sqlStateOf(error) === 'ENOENT') return undefined;
    throw new Error(`${data} can't be read by this user; start Florin as the user that started it first.`, {
      cause: error,
    });
  });
  if (found === undefined) return unprivilegedUser();
  if (isRoot()) return { name: String(found.uid), uid: found.uid, gid: found.gid };
  if (found.uid === process.getuid?.()) return undefined;
  throw new Error(
    `${data} belongs to user number ${String(found.uid)}; start Florin as that user or as root.`,
  );
};

const moveOut = async (notes: string): Promise<string> => {
  const folder = join(systemFolder, randomUUID());
  await mkdir(systemFolder, { recursive: true, mode: 0o755 });
  await mkdir(folder, { mode: 0o711 });
  await move(join(notes, 'data'), join(folder, 'data'));
  await symlink(folder, join(notes, 'elsewhere'));
  return folder;
};

const move = async (from: string, to: string): Promise<void> => {
  try {
    await rename(from, to);
  } catch (error) {
    if (sqlStateOf(error) === 'ENOENT') return;
    if (sqlStateOf(error) !== 'EXDEV') throw error;
    // Another file system. Node's own copy would lose the owner.
    const { status, stderr } = spawnSync('cp', ['-a', from, to], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${from} could not be moved to ${to}: ${stderr}`, { cause: error });
    await rm(from, { recursive: true });
  }
};
