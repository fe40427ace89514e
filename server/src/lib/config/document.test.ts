import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { inspectConfig, rootDirectory } from './config.ts';
import { computations } from './computed.ts';
import { referencePage } from './document.ts';
import { environments, fileOf, services } from './environment.ts';
import { effectiveSettings, tableOf } from './print.ts';
import { variableOf } from './setting.ts';
import { rows } from './variables.ts';
import { readYaml } from './yaml.ts';

test('docs/configuration.md is what `florin config docs` prints', () => {
  expect(readFileSync(join(rootDirectory, 'docs', 'configuration.md'), 'utf8')).toBe(
    referencePage(rootDirectory),
  );
});

test('the reference page names every setting, variable and alias', () => {
  const page = referencePage(rootDirectory);
  for (const [path, row] of rows) {
    expect(page).toContain(`### \`${path}\``);
    expect(page).toContain(`\`${variableOf(path)}\``);
    for (const { name } of row.aliases ?? []) expect(page).toContain(`\`${name}\``);
  }
  expect(page).toContain('- Default: `100`; `10000` in dev; `10000` in test');
});

describe('the table', () => {
  test('gives no two settings the same name', () => {
    const names = rows.flatMap(([path, row]) => [
      variableOf(path),
      `${variableOf(path)}_FILE`,
      ...new Set((row.aliases ?? []).flatMap(({ name }) => [name, `${name}_FILE`])),
    ]);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test('has a default that is of its own kind, and a computation for each computed default', () => {
    const parsed = rows.map(([path, row]) => [path, row.default && row.kind.parse(row.default)]);
    expect(parsed).toEqual(rows.map(([path, row]) => [path, row.default]));
    const computed = rows.filter(([, row]) => row.computed !== undefined).map(([path]) => path);
    expect(Object.keys(computations).toSorted()).toEqual(computed.toSorted());
  });

  test.each(environments)('is all that the file of %s sets', (environment) => {
    const { given, faults, warnings } = readYaml(rootDirectory, environment);
    expect([faults, warnings, given.length > 0]).toEqual([[], [], true]);
    for (const { source } of given) expect(source).toBe(fileOf(environment));
  });
});

describe('florin config print', () => {
  const env = {
    PAYMENTS_AUTH_JWT_SECRET: 'a-secret-of-more-than-32-characters-1',
    DB_PASSWORD: 'hunter2',
    PAYMENTS_LOG_LEVELS: 'payments=debug,http=warn',
    CORS_ORIGINS: 'https://a.example,https://b.example',
  };

  test('shows each value with its source, and no secret', () => {
    const table = tableOf(effectiveSettings(inspectConfig({ service: 'all', env })));
    const line = (path: string): string[] =>
      table
        .split('\n')
        .find((one) => one.startsWith(`${path} `))
        ?.split(/ {2,}/) ?? [];
    expect(line('env').slice(1)).toEqual(['dev', 'default']);
    expect(line('server.port').slice(1)).toEqual(['3000', 'default']);
    expect(line('server.cors.allowed_origins').slice(1)).toEqual([
      'https://a.example,https://b.example',
      'CORS_ORIGINS',
    ]);
    expect(line('log.levels').slice(1)).toEqual(['payments=debug,http=warn', 'PAYMENTS_LOG_LEVELS']);
    expect(line('rate_limit.max').slice(1)).toEqual(['10000', 'config/application-dev.yml']);
    expect(line('database.password').slice(1)).toEqual(['[REDACTED]', 'DB_PASSWORD']);
    expect(line('auth.service_secret').slice(1)).toEqual(['[REDACTED]', 'computed']);
    expect(line('redis.host').slice(1)).toEqual(['-', 'not set']);
    expect(table).not.toMatch(/hunter2|a-secret/);
  });

  test.each(services)('shows %s what it reads, and nothing else', (service) => {
    const shown = effectiveSettings(inspectConfig({ service, env })).map(({ path }) => path);
    const read = rows.filter(([, row]) => row.services.includes(service)).map(([path]) => path);
    expect(shown).toEqual(['env', ...read]);
  });
});
