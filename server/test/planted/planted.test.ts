import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rootDirectory } from '../../src/lib/config/config.ts';
import { withBug } from './bug.ts';
import { plantedBugs } from './bugs.ts';

const read = (file: string): string => readFileSync(join(rootDirectory, file), 'utf8');

describe('planted bugs', () => {
  test.each(plantedBugs)('$name can still be planted, and its tests are there', (bug) => {
    const source = read(bug.file);
    expect(withBug(bug, source)).not.toBe(source);
    expect(bug.caughtBy.filter((file) => !existsSync(join(rootDirectory, file)))).toEqual([]);
  });

  test('are at least 30, each with a name of its own', () => {
    expect(new Set(plantedBugs.map(({ name }) => name)).size).toBe(plantedBugs.length);
    expect(plantedBugs.length).toBeGreaterThanOrEqual(30);
  });

  test('a place that moved, or is there twice, is told', () => {
    const bug = { name: 'b', breaks: '', file: 'f', find: 'x', replace: 'y', caughtBy: [] };
    expect(withBug(bug, 'axb')).toBe('ayb');
    expect(() => withBug(bug, 'ab')).toThrow('0 times');
    expect(() => withBug(bug, 'axbx')).toThrow('2 times');
  });
});
