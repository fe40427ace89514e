import { afterAll, beforeAll } from 'vitest';

/**
 * Opens something once for all tests of a file, or of the `describe` that calls this: before the first of them. What was
 * put on the stack is closed after the last, also if opening fails half-way. The members are there within tests and
 * hooks only, so don't take them apart outside.
 *
 * @example
 * const database = forAllTests(async (stack) => stack.use(await testDatabase()));
 * test('is there', () => expect(database.db).toBeDefined());
 */
export const forAllTests = <T extends object>(open: (stack: AsyncDisposableStack) => Promise<T>): T => {
  const stack = new AsyncDisposableStack();
  const opened = {} as T; // whole before the first test
  beforeAll(async () => {
    Object.assign(opened, await open(stack));
  });
  afterAll(() => stack.disposeAsync());
  return opened;
};
