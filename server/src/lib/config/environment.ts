/** The variables of a process, by name. An empty value counts as not set. */
export type Env = Readonly<Record<string, string | undefined>>;

/** Variables are read in `lib/config` only: who needs them elsewhere asks here. */
export const processEnv = (): Env => process.env;

export const environments = ['dev', 'test', 'staging', 'production'] as const;
export type Environment = (typeof environments)[number];

/** What a process runs: one service, several in one (`all`, `api` = `eapi` + `sapi`), or a command (`cli`). */
export const services = [
  'all',
  'api',
  'eapi',
  'sapi',
  'worker',
  'rotation',
  'credlink',
  'monitoring',
  'vault',
  'cli',
] as const;
export type Service = (typeof services)[number];

/** Where an environment's defaults are kept, below the configuration's directory. */
export const fileOf = (environment: Environment): string =>
  `config/application-${environment === 'production' ? 'prod' : environment}.yml`;

const spellings: Readonly<Record<string, Environment>> = {
  dev: 'dev',
  development: 'dev',
  test: 'test',
  staging: 'staging',
  prod: 'production',
  production: 'production',
};

/**
 * Which environment `ENV` or `NODE_ENV` names; `dev` when neither is set. With a fault the first readable name
 * counts, so that the remaining settings can still be checked.
 */
export const readEnvironment = (env: Env): { environment: Environment; source: string; faults: string[] } => {
  const given = ['ENV', 'NODE_ENV'].flatMap((name) => {
    const text = env[name]?.trim();
    return text ? [{ name, text, environment: spellings[text.toLowerCase()] }] : [];
  });
  const faults = given
    .filter(({ environment }) => environment === undefined)
    .map(
      ({ name, text }) =>
        `${name} must be one of ${Object.keys(spellings).join(', ')}, got ${JSON.stringify(text)}`,
    );
  const readable = given.filter(({ environment }) => environment !== undefined);
  const [first, second] = readable;
  if (first && second && first.environment !== second.environment) {
    faults.push(
      `${first.name} and ${second.name} name different environments: ${first.text} and ${second.text}`,
    );
  }
  return { environment: first?.environment ?? 'dev', source: first?.name ?? 'default', faults };
};
