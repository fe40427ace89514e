import { Secret } from '../secret.ts';
import type { Inspection } from './config.ts';
import { variableOf } from './setting.ts';
import { rows } from './variables.ts';

/** One setting as it is in effect. `value` is safe to show: secrets read `[REDACTED]`; `null` is not set. */
export type EffectiveSetting = { path: string; variable: string; value: unknown; source: string };

/** The settings that the service reads, with their values and where each came from. */
export const effectiveSettings = ({ config, values, sources }: Inspection): EffectiveSetting[] => [
  { path: 'env', variable: 'ENV', value: config.env, source: sources['env'] ?? 'default' },
  ...rows
    .filter(([, row]) => row.services.includes(config.service))
    .map(([path]) => {
      const value = values.get(path) ?? null;
      const safe = value instanceof Secret ? value.toString() : value;
      return { path, variable: variableOf(path), value: safe, source: sources[path] ?? 'not set' };
    }),
];

/** The settings as a table of three columns: path, value, source. */
export const tableOf = (effective: readonly EffectiveSetting[]): string => {
  const lines = effective.map(({ path, value, source }) => [path, textOf(value), source]);
  const widths = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .join('\n');
};

/** A value as a variable would give it. */
export const textOf = (value: unknown): string => {
  if (value === null || value === undefined) return '-';
  if (Array.isArray(value)) return value.length === 0 ? '(none)' : value.join(',');
  // Settings are texts, numbers, flags, lists and maps, see `kinds.ts`.
  if (typeof value !== 'object') return `${value as string | number | boolean}`;
  const pairs = Object.entries(value).map(([name, one]) => `${name}=${String(one)}`);
  return pairs.length === 0 ? '(none)' : pairs.join(',');
};
