import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rootDirectory } from '../lib/config/config.ts';
import { createMetrics } from '../lib/metrics.ts';
import { metricsPage } from './metrics-page.ts';

const page = join(rootDirectory, 'docs', 'metrics.md');
const update = 'node bin/launch.mjs vitest run server/src/services/metrics-page.test.ts --update';

// Node.js has fewer metrics of the process elsewhere.
test.runIf(process.platform === 'linux')(
  'docs/metrics.md lists every metric, with type, labels and meaning',
  async () => {
    await expect(metricsPage(), `docs/metrics.md is out of date. Run: ${update}`).toMatchFileSnapshot(page);
  },
);

test('every metric says what it means, and is named as Prometheus recommends', () => {
  const rows = metricsPage()
    .split('\n')
    .filter((line) => /^\| `\w+` \| (counter|gauge|histogram|summary) /.test(line));
  expect(rows.length).toBeGreaterThan(40);
  for (const row of rows) {
    const [, name = '', type = '', , help = ''] = row.split('|').map((cell) => cell.trim());
    expect(help.length, name).toBeGreaterThan(10);
    const bare = name.slice(1, -1);
    if (!/^(nodejs|process)_/.test(bare)) expect(bare.endsWith('_total'), row).toBe(type === 'counter');
  }
});

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

test.runIf(hasPromtool)('what is scraped and what is worth an alert are valid for Prometheus', async () => {
  const metrics = createMetrics();
  metrics.observe({ method: 'GET', route: '/', status: 200, durationMs: 1 });
  const checked = spawnSync('promtool', ['check', 'metrics'], {
    input: await metrics.text(),
    encoding: 'utf8',
  });
  const own = checked.stderr.split('\n').filter((line) => line !== '' && !/^(nodejs|process)_/.test(line));
  expect(own).toEqual([]);
  const expressions = [...metricsPage().matchAll(/^\| `([^`]+)`.* \| [a-z]/gm)].flatMap(
    ([, expression = '']) => (/^\w+$/.test(expression) ? [] : [expression]),
  );
  expect(expressions.length).toBeGreaterThan(5);
  const folder = mkdtempSync(join(tmpdir(), 'florin-rules-'));
  const rules = {
    groups: [{ name: 'documented', rules: expressions.map((expr, index) => ({ alert: `a${index}`, expr })) }],
  };
  writeFileSync(join(folder, 'rules.yml'), JSON.stringify(rules));
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', join(folder, 'rules.yml')], {
    encoding: 'utf8',
  });
  expect(status, stdout + stderr).toBe(0);
  rmSync(folder, { recursive: true });
});
