import { defineConfig } from 'vitest/config';

// `vitest run server/src` runs the fast tests, `vitest run` all of them.
export default defineConfig({
  test: {
    include: ['server/{src,test}/**/*.test.ts', 'bin/**/*.test.ts', 'bench/**/*.test.ts'],
    globalSetup: ['server/test/setup/global.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
