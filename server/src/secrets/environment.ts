import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import { hasCode } from './lock.ts';
import {
  checkPath,
  pageOf,
  readOnly,
  secretBytesMax,
  type SecretSource,
  type SecretVersion,
} from './source.ts';

type EnvironmentOptions = {
  /** The process's environment, as the configuration hands it over. */
  env: Readonly<Record<string, string | undefined>>;
  /** Where Kubernetes, Docker or External Secrets mount files, e.g. `/run/secrets`. */
  directory?: string | undefined;
};

/**
 * Secrets that whoever starts Florin provides; it can read them, not write. Looked up in this order, for the
 * path `payment-system/vendors/xyz-vendor/client-secret`:
 *
 * 1. the variable `PAYMENT_SYSTEM__VENDORS__XYZ_VENDOR__CLIENT_SECRET`: upper case, `/` is `__`, `-` is `_`
 * 2. the file that the same variable with `_FILE` behind it names
 * 3. in the directory: the file `payment-system/vendors/xyz-vendor/client-secret`
 * 4. in the directory: the file `payment-system.vendors.xyz-vendor.client-secret` (`/` is `.`), since the keys
 *    of a Kubernetes or Docker secret can't hold a slash
 *
 * A path has a variable only if the way back leads to it again, so that no two paths share one: two words or
 * more of `a-z`, `0-9` and single `-`, the last not ending in `-file`. Files are read anew each time, without
 * the newline at their end; an empty value counts as none.
 */
export const environmentSecrets = ({ env, directory }: EnvironmentOptions): SecretSource => {
  const read = async (path: string): Promise<SecretVersion | undefined> =>
    (await readVariable(env, path)) ?? (directory === undefined ? undefined : readMounted(directory, path));

  return {
    name: 'environment',
    writable: false,
    read: async (path, version) => {
      checkPath(path);
      const found = await read(path);
      return version === undefined || found?.version === version ? found : undefined;
    },
    versions: async (path) => {
      checkPath(path);
      const found = await read(path);
      return found ? [{ version: found.version, createdAt: found.createdAt }] : [];
    },
    list: async (prefix, page) => {
      const known = new Set([
        ...variablePaths(env),
        ...(directory === undefined ? [] : await mountedPaths(directory)),
      ]);
      const given = await Promise.all(
        [...known].map(async (path) => ((await read(path)) ? path : undefined)),
      );
      return pageOf(
        given.filter((path) => path !== undefined),
        prefix,
        page,
      );
    },
    write: async (path) => {
      throw readOnly(`Set ${variableOf(path) ?? `a file for ${path}`} where Florin is started.`);
    },
    remove: async (path) => {
      throw readOnly(`Take ${variableOf(path) ?? `the file for ${path}`} away where Florin is started.`);
    },
  };
};

/** The name of the variable that holds a path's secret, if the path can have one. */
export const variableOf = (path: string): string | undefined =>
  variablePath.test(path) && !path.endsWith('-file')
    ? path.replaceAll('/', '__').replaceAll('-', '_').toUpperCase()
    : undefined;

const variablePath = /^[a-z0-9]+(-[a-z0-9]+)*(\/[a-z0-9]+(-[a-z0-9]+)*)+$/;

const readVariable = async (
  env: EnvironmentOptions['env'],
  path: string,
): Promise<SecretVersion | undefined> => {
  const name = variableOf(path);
  if (name === undefined) return undefined;
  const [value, file] = [env[name] || undefined, env[`${name}_FILE`] || undefined];
  const fromFile = file === undefined ? undefined : await readOne(file);
  if (file !== undefined && fromFile === undefined) {
    throw new AppError('unavailable', `The file that ${name}_FILE names is missing or empty.`);
  }
  if (value === undefined) return fromFile;
  if (fromFile !== undefined && fromFile.value.reveal() !== value) {
    throw new AppError('unavailable', `${name} and ${name}_FILE hold different values. Set one of them.`);
  }
  return { version: 'variable', createdAt: undefined, value: new Secret(value) };
};

const readMounted = async (directory: string, path: string): Promise<SecretVersion | undefined> =>
  (await readOne(join(directory, path))) ??
  (path.includes('.') ? undefined : readOne(join(directory, path.replaceAll('/', '.'))));

/** One file's secret; its version is the time it was last changed, in milliseconds since 1970. */
const readOne = async (file: string): Promise<SecretVersion | undefined> => {
  const handle = await open(file, 'r').catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    const status = await handle.stat();
    if (!status.isFile()) return undefined;
    if (status.size > secretBytesMax)
      throw new AppError('unavailable', `A mounted secret has more than ${secretBytesMax} bytes.`);
    const text = (await handle.readFile('utf8')).replace(/\r?\n$/, '');
    if (text === '') return undefined;
    return { version: String(status.mtime.getTime()), createdAt: status.mtime, value: new Secret(text) };
  } finally {
    await handle.close();
  }
};

/** The paths of all variables that look like one; whether they hold a value, reading tells. */
const variablePaths = (env: EnvironmentOptions['env']): string[] =>
  Object.keys(env)
    .map((name) => name.replace(/_FILE$/, ''))
    .map((name) => ({ name, path: name.toLowerCase().replaceAll('__', '/').replaceAll('_', '-') }))
    .filter(({ name, path }) => variableOf(path) === name)
    .map(({ path }) => path);

/**
 * What begins with a dot is Kubernetes' own (`..data`, `..2026_11_22`): the versions behind the links that
 * are listed here. Folders are read to a depth of 8, so that a link in a circle ends.
 */
const mountedPaths = async (directory: string, below = '', depth = 0): Promise<string[]> => {
  const names = await readdir(join(directory, below)).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  const paths = await Promise.all(
    names
      .filter((name) => /^[a-z0-9_-][a-z0-9._-]*$/i.test(name))
      .map(async (name) => {
        const path = below === '' ? name : `${below}/${name}`;
        if (!(await isFolder(join(directory, path))))
          return [below === '' ? path.replaceAll('.', '/') : path];
        return depth < 8 ? mountedPaths(directory, path, depth + 1) : [];
      }),
  );
  return paths.flat();
};

/** Follows links; a link to nothing is no folder. */
const isFolder = async (path: string): Promise<boolean> => {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
};

const isAbsent = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP'].some((code) => hasCode(error, code));
