import { expect, test } from 'vitest';
import { shapeFaults, valuesMax } from './shape.ts';
import { depthMax } from './text.ts';

const padding = ' '.repeat(20_000);
const faultsOf = (text: string): string[] =>
  shapeFaults(Buffer.from(padding + text)).map(({ message }) => message);

test('a large body may nest as deep as a small one and no deeper', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  expect(faultsOf(nested(depthMax))).toEqual([]);
  expect(faultsOf(nested(depthMax + 1))).toEqual([`must not nest deeper than ${depthMax} levels`]);
  expect(faultsOf('{"a":['.repeat(40))).toEqual([`must not nest deeper than ${depthMax} levels`]);
  expect(faultsOf(`[${'[[]],'.repeat(100)}1]`)).toEqual([]);
});

test('a large body may have so many values and no more', () => {
  const items = (count: number): string => `[${Array.from({ length: count }, () => '{}').join()}]`;
  expect(faultsOf(items(valuesMax))).toEqual([]);
  expect(faultsOf(items(valuesMax + 1))).toEqual([`must not have more than ${valuesMax} values`]);
});

test('what stands in texts is not counted', () => {
  expect(faultsOf(`{"a":"${'[,{'.repeat(10_000)}"}`)).toEqual([]);
  expect(faultsOf(`{"a":"${'\\",['.repeat(10_000)}"}`)).toEqual([]);
  expect(faultsOf(`{"a":"\\\\",${'[,'.repeat(10_000)}`)).toHaveLength(1);
});

test('a text that does not end is for the parser to refuse', () => {
  expect(faultsOf('["')).toEqual([]);
  expect(faultsOf('["\\')).toEqual([]);
});
