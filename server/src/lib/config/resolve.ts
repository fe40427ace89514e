import { isDeepStrictEqual } from 'node:util';
import { Secret } from '../secret.ts';
import type { Env, Environment, Service } from './environment.ts';
import type { Setting } from './setting.ts';
import type { SettingPath } from './settings.ts';
import { readVariables, rows } from './variables.ts';
import type { Given } from './variables.ts';
import { readYaml } from './yaml.ts';

type OverrideValue = string | number | boolean | Secret | readonly string[];

/** Values that the caller sets, by path; they win over every other source. `source` says where they come from. */
export type Overrides = {
  readonly [Path in SettingPath]?: OverrideValue | { value: OverrideValue; source: string };
};

export type Resolution = {
  /** Parsed values of the settings that the service reads; what nobody gave has its fixed default or is missing. */
  values: Map<SettingPath, unknown>;
  /** Where each value comes from: a variable, a file, `default` … */
  sources: Map<SettingPath, string>;
  faults: string[];
  /** Settings that a fault is about: nothing more is said of them. */
  faulty: Set<SettingPath>;
  warnings: string[];
};

type Inputs = {
  service: Service;
  environment: Environment;
  env: Env;
  directory: string;
  overrides: Overrides;
};

/** Collects every source, lowest first: defaults, the environment's file, variables of any name, overrides. */
export const resolve = ({ service, environment, env, directory, overrides }: Inputs): Resolution => {
  const yaml = readYaml(directory, environment);
  const variables = readVariables(env, service);
  const found = [...yaml.faults, ...variables.faults];
  const resolution: Resolution = {
    values: new Map(),
    sources: new Map(),
    faults: found.map(({ message }) => message),
    faulty: new Set(found.flatMap(({ path }) => path ?? [])),
    warnings: [...yaml.warnings, ...variables.warnings],
  };
  for (const [path, row] of rows) {
    if (row.default !== undefined) resolution.values.set(path, row.default);
    if (!row.services.includes(service)) continue;
    if (row.default !== undefined) resolution.sources.set(path, 'default');
    const ofPath = (given: Given[]): Given[] => given.filter((one) => one.path === path);
    for (const layer of [ofPath(yaml.given), ofPath(variables.given), overrideOf(path, overrides)]) {
      take(path, row, layer, resolution);
    }
  }
  return resolution;
};

const overrideOf = (path: SettingPath, overrides: Overrides): Given[] => {
  const override = overrides[path];
  if (override === undefined) return [];
  const isLabelled = typeof override === 'object' && 'source' in override;
  return [
    isLabelled
      ? { path, raw: override.value, source: override.source }
      : { path, raw: override, source: 'override' },
  ];
};

/** Takes over what one layer says about one setting. All of its names have to say the same. */
const take = (path: SettingPath, row: Setting, layer: Given[], resolution: Resolution): void => {
  const parsed = layer.map((given) => ({ ...given, value: row.kind.parse(given.raw) }));
  const readable = parsed.filter(({ value }) => value !== undefined);
  const [first] = readable;
  const other = readable.find(({ value }) => !isEqual(value, first?.value));
  const messages = parsed
    .filter(({ value }) => value === undefined)
    .map(
      ({ raw, source }) =>
        `${path} must be ${row.kind.expects}${row.secret ? '' : `, got ${show(raw)}`} (${source})`,
    );
  if (first !== undefined && other !== undefined) {
    const values = row.secret ? '' : `: ${show(first.raw)} and ${show(other.raw)}`;
    messages.push(`${first.source} and ${other.source} give different values for ${path}${values}`);
  }
  if (messages.length > 0) resolution.faulty.add(path);
  resolution.faults.push(...messages);
  if (first === undefined) return;
  resolution.values.set(path, first.value);
  resolution.sources.set(path, first.source);
};

const isEqual = (a: unknown, b: unknown): boolean =>
  a instanceof Secret && b instanceof Secret ? a.reveal() === b.reveal() : isDeepStrictEqual(a, b);

const show = (raw: unknown): string => JSON.stringify(raw);
