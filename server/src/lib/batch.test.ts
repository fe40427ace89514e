import { describe, expect, test } from 'vitest';
import { createBatcher } from './batch.ts';
import { AppError } from './errors.ts';

type Item = { group: number; value: number };

/** A batcher whose batches wait until the test lets them run. */
const heldBatcher = (
  limits: { queueMax?: number; groupMax?: number; batchMax?: number; inFlightMax?: number } = {},
) => {
  const batches: { values: number[]; release(): void }[] = [];
  const batcher = createBatcher<Item, number>({
    run: (items) =>
      new Promise((resolve, reject) => {
        const values = items.map(({ value }) => value);
        const release = () =>
          values.includes(13) ? reject(new Error('poison')) : resolve(values.map((value) => value * 10));
        batches.push({ values, release });
      }),
    isPoison: (error) => error instanceof Error && error.message === 'poison',
    groupOf: ({ group }) => group,
    batchMax: 4,
    queueMax: 100,
    groupMax: 50,
    inFlightMax: 1,
    ...limits,
  });
  /** Releases batches, also those that a release makes, until none is left. */
  const releaseAll = async (): Promise<void> => {
    for (let index = 0; index < batches.length; index += 1) {
      batches[index]?.release();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { batcher, batches, releaseAll };
};

const item = (value: number, group = 1): Item => ({ group, value });

describe('micro-batch', () => {
  test('a lone item waits for nothing', () => {
    const { batcher, batches } = heldBatcher();
    void batcher.submit(item(1));
    expect(batches.map(({ values }) => values)).toEqual([[1]]);
  });

  test('what arrives while a batch is in flight is the next batch, up to its size', async () => {
    const { batcher, batches, releaseAll } = heldBatcher();
    const results = Promise.all([1, 2, 3, 4, 5, 6, 7].map((value) => batcher.submit(item(value))));
    await releaseAll();
    expect(await results).toEqual([10, 20, 30, 40, 50, 60, 70]);
    expect(batches.map(({ values }) => values)).toEqual([[1], [2, 3, 4, 5], [6, 7]]);
  });

  test('groups take turns, so a flood of one does not starve another; a group keeps its order', async () => {
    const { batcher, batches, releaseAll } = heldBatcher();
    const values = [1, 2, 3, 4, 5, 6].map((value) => batcher.submit(item(value, 1)));
    const other = batcher.submit(item(100, 2));
    await releaseAll();
    await Promise.all([...values, other]);
    expect(batches.map((batch) => batch.values)).toEqual([[1], [2, 100, 3, 4], [5, 6]]);
  });

  test('one bad item fails alone; its neighbours succeed and the next batch runs', async () => {
    const { batcher, releaseAll } = heldBatcher();
    const results = Promise.allSettled([1, 2, 13, 4, 5, 6].map((value) => batcher.submit(item(value))));
    await releaseAll();
    expect(
      (await results).map((result) => (result.status === 'fulfilled' ? result.value : 'refused')),
    ).toEqual([10, 20, 'refused', 40, 50, 60]);
  });

  test('an error that is nobody’s fault fails the batch as a whole', async () => {
    const batcher = createBatcher<Item, number>({
      run: () => Promise.reject(new Error('database away')),
      isPoison: () => false,
      groupOf: ({ group }) => group,
      batchMax: 4,
      queueMax: 10,
      groupMax: 10,
      inFlightMax: 1,
    });
    await expect(batcher.submit(item(1))).rejects.toThrow('database away');
  });

  test('a full queue refuses with 503 and Retry-After, and one group can not fill it', async () => {
    const { batcher, releaseAll } = heldBatcher({ queueMax: 5, groupMax: 3 });
    const accepted = [1, 2, 3, 4].map((value) => batcher.submit(item(value, 1)));
    await expect(batcher.submit(item(5, 1))).rejects.toMatchObject({ code: 'overloaded', retryAfterS: 1 });
    accepted.push(batcher.submit(item(6, 2)), batcher.submit(item(7, 2)));
    await expect(batcher.submit(item(8, 3))).rejects.toBeInstanceOf(AppError);
    await releaseAll();
    expect(await Promise.all(accepted)).toEqual([10, 20, 30, 40, 60, 70]);
  });

  test('draining answers what was accepted and refuses the rest', async () => {
    const { batcher, releaseAll } = heldBatcher();
    const accepted = [1, 2, 3].map((value) => batcher.submit(item(value)));
    let drained = false;
    const draining = batcher.drain().then(() => (drained = true));
    await expect(batcher.submit(item(4))).rejects.toMatchObject({ code: 'overloaded' });
    expect(drained).toBe(false);
    await releaseAll();
    await draining;
    expect(await Promise.all(accepted)).toEqual([10, 20, 30]);
  });
});
