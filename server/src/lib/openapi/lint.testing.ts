import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** What Spectral finds in a document under the project's rules, warnings included. */
export const lint = async (document: object): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'florin-openapi-'));
  const file = join(folder, 'openapi.json');
  await writeFile(file, JSON.stringify(document));
  const spectral = join(root, 'node_modules/@stoplight/spectral-cli/dist/index.js');
  const rules = ['--ruleset', join(root, '.spectral.yaml'), '--fail-severity', 'hint', '--quiet'];
  const { promise, resolve } = Promise.withResolvers<string>();
  // It takes seconds, in which servers of the test must notice what their clients do.
  execFile(process.execPath, [spectral, 'lint', ...rules, file], { cwd: root }, (error, stdout, stderr) =>
    resolve(error ? stdout + stderr : ''),
  );
  const found = await promise;
  await rm(folder, { recursive: true });
  return found;
};
