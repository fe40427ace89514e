/** The middle of some figures and how far they lie apart. */
export type Spread = { median: number; min: number; max: number };

/** The value below which the share `q` (0 to 1) of all values lies, by nearest rank. NaN for no values. */
export const quantile = (values: readonly number[] | Float64Array, q: number): number => {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
};

/** The middle value; of an even number of values the mean of the two in the middle. NaN for no values. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
};

export const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/**
 * Figures as ratios to those measured in the same rounds. A disk that is twice as fast an hour later moves both, so the
 * median of the rounds' ratios holds where a ratio of two medians would not. Undefined where a round lacks its yardstick.
 */
export const ratiosOf = (
  values: readonly number[],
  over: readonly (number | undefined)[],
): Spread | undefined => {
  const ratios = values.map((value, round) => value / (over[round] ?? Number.NaN));
  return ratios.length > 0 && ratios.every(Number.isFinite) ? spreadOf(ratios) : undefined;
};
