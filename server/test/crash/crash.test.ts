import { expect, test } from 'vitest';
import { crash } from './crash.ts';
import { killsOf, neverHit, reportLines } from './report.ts';

const seed = Number(process.env['FLORIN_TEST_SEED'] ?? 1);

test(
  '50 kills of services and database lose nothing that was acknowledged, and double nothing',
  { timeout: 600_000 },
  async () => {
    const report = await crash({ kills: 50, seed, keep: false, say: () => undefined });
    const lines = reportLines(report).join('\n');
    expect(report.differences, lines).toEqual([]);
    expect(neverHit(report), lines).toEqual([]);
    expect(killsOf(report), lines).toBe(50);
    expect(report.acknowledged, lines).toBeGreaterThan(100);
  },
);
