import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `vitest run server/src` runs the fast tests, `vitest run` all of them.
export default defineConfig({
  test: {
    include: ['server/{src,test}/**/*.test.ts', 'bin/**/*.test.ts', 'bench/**/*.test.ts'],
    globalSetup: ['server/test/setup/global.ts'],
    // Tests wait for processes and the database more than they compute: two at a time also where there are two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
