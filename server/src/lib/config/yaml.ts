import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { fileOf } from './environment.ts';
import type { Environment } from './environment.ts';
import { nearest } from './nearest.ts';
import type { SettingPath } from './settings.ts';
import { describeReadError, rows } from './variables.ts';
import type { Findings } from './variables.ts';

/** What `config/application-<environment>.yml` says. The file may be missing; a secret in it is a fault. */
export const readYaml = (directory: string, environment: Environment): Findings => {
  const findings: Findings = { given: [], faults: [], warnings: [] };
  const source = fileOf(environment);
  const document = readDocument(join(directory, source), source, findings);
  const tree = document ?? {};
  if (typeof tree !== 'object' || Array.isArray(tree)) {
    findings.faults.push({ message: `${source} must be a map of settings` });
    return findings;
  }
  walk(Object.entries(tree), '', source, findings);
  return findings;
};

const readDocument = (file: string, source: string, { faults }: Findings): unknown => {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isMissing) faults.push({ message: describeReadError(source, file, error) });
    return undefined;
  }
  try {
    return parse(content, { prettyErrors: false });
  } catch (error) {
    faults.push({
      message: `${source} is not YAML: ${error instanceof Error ? error.message : String(error)}`,
    });
    return undefined;
  }
};

const walk = (entries: [string, unknown][], above: string, source: string, findings: Findings): void => {
  for (const [name, value] of entries) {
    const path = `${above}${name}`;
    const row = rows.find(([known]) => known === path);
    if (row !== undefined) {
      take(row[0], row[1].secret === true, value, source, findings);
    } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      walk(Object.entries(value), `${path}.`, source, findings);
    } else {
      const meant = nearest(
        path,
        rows.map(([known]) => known),
      );
      findings.warnings.push(
        `${source}: ${path} is not a setting${meant === undefined ? '' : `; did you mean ${meant}?`}`,
      );
    }
  }
};

const take = (
  path: SettingPath,
  isSecret: boolean,
  raw: unknown,
  source: string,
  findings: Findings,
): void => {
  if (raw === null || raw === '') return;
  if (isSecret) {
    findings.faults.push({
      path,
      message: `${source} must not hold ${path}: give secrets as variables or files`,
    });
    return;
  }
  findings.given.push({ path, raw, source });
};
