import { readFileSync } from 'node:fs';
import { parseDatabaseUrl } from './database-url.ts';
import type { Env, Service } from './environment.ts';
import { nearest } from './nearest.ts';
import { variableOf } from './setting.ts';
import type { Setting } from './setting.ts';
import { settings } from './settings.ts';
import type { SettingPath } from './settings.ts';

/** A value as somebody gave it, and the name under which. */
export type Given = { path: SettingPath; raw: unknown; source: string };

export type Findings = {
  given: Given[];
  faults: { path?: SettingPath; message: string }[];
  warnings: string[];
};

/** The table's rows, with their paths typed. */
export const rows: readonly (readonly [SettingPath, Setting])[] =
  // `Object.entries` forgets the keys' type.
  Object.entries(settings) as [SettingPath, Setting][];

/**
 * What the variables say about the settings that this service reads: under the canonical names, the aliases that
 * are meant for the service, and each of those with `_FILE`, which names a file that holds the value.
 */
export const readVariables = (env: Env, service: Service): Findings => {
  const findings: Findings = { given: [], faults: [], warnings: [] };
  for (const [path, row] of rows) {
    if (!row.services.includes(service)) continue;
    for (const name of namesOf(path, row, service)) readName(env, name, path, findings);
  }
  if (settings['database.host'].services.includes(service)) readDatabaseUrl(env, findings);
  findings.warnings.push(...foreignAliases(env, service), ...unknownNames(env));
  return findings;
};

/** Every name that a setting has for this service, the canonical one first. */
const namesOf = (path: string, row: Setting, service: Service): Set<string> =>
  new Set([
    variableOf(path),
    ...(row.aliases ?? []).filter(({ services }) => services.includes(service)).map(({ name }) => name),
  ]);

const readName = (env: Env, name: string, path: SettingPath, findings: Findings): void => {
  if (env[name]) findings.given.push({ path, raw: env[name], source: name });
  const raw = readNamedFile(env, name, path, findings);
  if (raw !== undefined) findings.given.push({ path, raw, source: `${name}_FILE` });
};

/** The content of the file that `<name>_FILE` names, without the line break at its end. */
const readNamedFile = (
  env: Env,
  name: string,
  path: SettingPath,
  { faults }: Findings,
): string | undefined => {
  const file = env[`${name}_FILE`];
  if (!file) return undefined;
  try {
    const content = readFileSync(file, 'utf8').replace(/[\r\n]+$/, '');
    if (content.trim() === '')
      faults.push({ path, message: `${path}: the file of ${name}_FILE is empty: ${file}` });
    return content.trim() === '' ? undefined : content;
  } catch (error) {
    faults.push({ path, message: `${path}: ${describeReadError(`the file of ${name}_FILE`, file, error)}` });
    return undefined;
  }
};

/** `<what> not found: /path`, or that it can't be read and why. */
export const describeReadError = (what: string, file: string, error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  return /^(ENOENT|ENOTDIR)$/.test(code)
    ? `${what} not found: ${file}`
    : `${what} can't be read: ${file} (${code})`;
};

const readDatabaseUrl = (env: Env, findings: Findings): void => {
  const fromFile = readNamedFile(env, 'DATABASE_URL', 'database.host', findings);
  for (const [source, text] of [
    ['DATABASE_URL', env['DATABASE_URL']],
    ['DATABASE_URL_FILE', fromFile],
  ] as const) {
    if (!text) continue;
    const parsed = parseDatabaseUrl(text);
    if (parsed === undefined) {
      // The text is not shown: it may hold a password.
      findings.faults.push({
        message: `${source} must be a URL such as postgresql://user:password@host:5432/database`,
      });
      continue;
    }
    for (const [path] of rows) {
      const raw = parsed.parts[path];
      if (raw) findings.given.push({ path, raw, source });
    }
    const ignored = parsed.ignored.map((name) => `${source}: the parameter ${name} is not used`);
    findings.warnings.push(...ignored);
  }
};

/** Names that set something for other services only, while this one reads the setting under another name. */
const foreignAliases = (env: Env, service: Service): string[] =>
  rows.flatMap(([path, row]) => {
    if (!row.services.includes(service)) return [];
    const names = namesOf(path, row, service);
    return (row.aliases ?? [])
      .filter(({ name }) => env[name] && !names.has(name))
      .map(({ name }) => `${name} is not read by ${service}: set ${variableOf(path)}`);
  });

const unknownNames = (env: Env): string[] => {
  const known = new Set(rows.map(([path]) => variableOf(path)));
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith('PAYMENTS_') && value && !isServiceLink(name, value))
    .map(([name]) => name)
    .filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')))
    .map((name) => {
      const meant = nearest(name, known);
      return `${name} is not a setting${meant === undefined ? '' : `; did you mean ${meant}?`}`;
    });
};

/** Kubernetes and Docker set such variables for each Service whose name begins with `payments-`. */
const isServiceLink = (name: string, value: string): boolean =>
  /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP)(_\w+)?$/.test(name) || /^(tcp|udp):\/\//.test(value);
