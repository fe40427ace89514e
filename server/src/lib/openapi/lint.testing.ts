import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** What Spectral finds in a document under the project's rules, warnings included. */
export const lint = (document: object): string => {
  const folder = mkdtempSync(join(tmpdir(), 'florin-openapi-'));
  const file = join(folder, 'openapi.json');
  writeFileSync(file, JSON.stringify(document));
  const spectral = join(root, 'node_modules/@stoplight/spectral-cli/dist/index.js');
  const args = [
    spectral,
    'lint',
    '--ruleset',
    join(root, '.spectral.yaml'),
    '--fail-severity',
    'hint',
    '--quiet',
    file,
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: root });
  rmSync(folder, { recursive: true });
  return status === 0 ? '' : stdout + stderr;
};
