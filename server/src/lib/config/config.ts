import { fileURLToPath } from 'node:url';
import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { Secret } from '../secret.ts';
import { check } from './checks.ts';
import { computations } from './computed.ts';
import type { ComputedPath } from './computed.ts';
import { readEnvironment } from './environment.ts';
import type { Env, Environment, Service } from './environment.ts';
import { resolve } from './resolve.ts';
import type { Overrides, Resolution } from './resolve.ts';
import type { settings, SettingPath } from './settings.ts';
import { nest } from './shape.ts';
import type { Shape } from './shape.ts';
import { rows } from './variables.ts';

/** Every setting with its value, nested and in camelCase: the table in `settings.ts` says what each one means. */
export type Config = { env: Environment; service: Service } & Shape<typeof settings>;

export type LoadedConfig = {
  config: Config;
  /** Where each value that this service reads comes from, by path. */
  sources: Readonly<Record<string, string>>;
  /** What an operator should know and may leave as it is. */
  warnings: string[];
};

export type LoadOptions = {
  service: Service;
  env: Env;
  /** Where `config/application-*.yml` lies; by default the root of this repository. */
  directory?: string;
  /** Values that win over every other source, e.g. where the embedded database listens. */
  overrides?: Overrides;
  /** For the validity of certificates. */
  clock?: Clock;
};

/** The configuration can't be used. `faults` are all reasons, each a sentence for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`invalid config: ${faults.join('; ')}`);
    this.faults = faults;
  }
}

/** The root of this repository: where `config/` lies, and `.florin/` in development. */
export const rootDirectory = fileURLToPath(new URL('../../../../', import.meta.url));

/**
 * Reads and checks the whole configuration of one service.
 * @throws ConfigError with every fault at once
 */
export const loadConfig = (options: LoadOptions): LoadedConfig => {
  const { config, sources, faults, warnings } = inspectConfig(options);
  if (faults.length > 0) throw new ConfigError(faults);
  return { config, sources, warnings };
};

/** A configuration with its faults beside it; `values` holds what is set, by path. */
export type Inspection = LoadedConfig & { faults: string[]; values: ReadonlyMap<SettingPath, unknown> };

/** As `loadConfig`, but gives the faults beside what could be read: only for showing it. */
export const inspectConfig = (options: LoadOptions): Inspection => {
  const { service, env, directory = rootDirectory, overrides = {}, clock = systemClock } = options;
  const named = readEnvironment(env);
  const { environment } = named;
  const resolution = resolve({ service, environment, env, directory, overrides });
  compute(resolution, service, environment, directory);
  const config = assemble(resolution.values, service, environment);
  const checked = check({ config, resolution, env, now: clock.now() });
  return {
    config,
    values: resolution.values,
    sources: { env: named.source, ...Object.fromEntries(resolution.sources) },
    faults: [...named.faults, ...resolution.faults, ...checked.faults],
    warnings: [...resolution.warnings, ...checked.warnings],
  };
};

/** The log line with which a service ends when its configuration is not valid. */
export const fatalConfigLine = (error: ConfigError, now: Date): string =>
  JSON.stringify({ level: 'fatal', time: now.toISOString().replace(/\.\d+Z$/, 'Z'), error: error.message });

/** Each fault as a line for a reader. */
export const errorLines = (faults: readonly string[]): string[] => faults.map((fault) => `Error: ${fault}`);

const compute = (
  { values, sources, faulty }: Resolution,
  service: Service,
  environment: Environment,
  directory: string,
): void => {
  const owned = new Map(rows);
  // `Object.keys` forgets the keys' type.
  for (const path of Object.keys(computations) as ComputedPath[]) {
    if (values.has(path) || faulty.has(path)) continue;
    const value = computations[path]({
      config: shapeOf(values, service, environment),
      environment,
      directory,
    });
    if (value === undefined) continue;
    values.set(path, value);
    if (owned.get(path)?.services.includes(service)) sources.set(path, 'computed');
  }
};

/** The final object: a secret that is required, but not from this service, is there and refuses to be read. */
const assemble = (
  values: ReadonlyMap<SettingPath, unknown>,
  service: Service,
  environment: Environment,
): Config => {
  const all = new Map<SettingPath, unknown>(values);
  for (const [path, row] of rows) {
    // What is not set is named too, so that its section exists.
    if (!all.has(path)) all.set(path, row.traits.present ? new AbsentSecret(path, service) : undefined);
  }
  return shapeOf(all, service, environment);
};

const shapeOf = (values: ReadonlyMap<string, unknown>, service: Service, env: Environment): Config =>
  // Every value was parsed by the kind of its own row, from which `Config` is derived too.
  ({ env, service, ...nest(values) }) as Config;

class AbsentSecret extends Secret {
  readonly #message: string;

  constructor(path: SettingPath, service: Service) {
    super('');
    this.#message = `${path} is not configured for the service ${service}`;
  }

  override reveal(): never {
    throw new Error(this.#message);
  }
}
