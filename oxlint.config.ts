import { defineConfig, type OxlintOverride } from 'oxlint';

/** The floors of ARCHITECTURE.md: a folder may import what stands on a lower line, never its own line or above. */
const floors = [
  ['lib'],
  ['secrets', 'journal'],
  ['ledger', 'vendors', 'customers', 'people'],
  ['access'],
  ['events', 'audit', 'payments', 'credlink', 'vault'],
  ['webhooks', 'reconciliation', 'wallets', 'rotation', 'receipts', 'monitoring', 'operations'],
  ['services'],
  ['cli'],
];

const from = (folders: readonly string[], message: string) => ({
  regex: `(^|/)\\.\\./(src/)?(${folders.join('|')})/`,
  message,
});

const floorRules = floors.flatMap((floor, height) =>
  floor.map((folder): OxlintOverride => {
    const higher = floors
      .slice(height)
      .flat()
      .filter((other) => other !== folder);
    const patterns = [from(higher, `${folder} stands on floor ${height + 1} and imports only lower floors`)];
    // The sixth floor meets other modules through their nouns, never through their tables.
    if (height === 5) {
      patterns.push({
        regex: '\\.\\./[a-z]+/store\\.ts$',
        message: 'use the module’s noun file, not its store',
      });
    }
    return {
      files: [`server/src/${folder}/**/*.ts`],
      rules: { 'no-restricted-imports': ['error', { patterns }] },
    };
  }),
);

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'oxc', 'import', 'promise', 'node', 'vitest'],
  categories: { correctness: 'error', suspicious: 'error', perf: 'error' },
  options: { typeAware: true },
  ignorePatterns: ['node_modules', '.florin', 'docs/api', 'coverage'],
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
    'typescript/await-thenable': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'typescript/only-throw-error': 'error',
    'typescript/consistent-type-imports': 'error',
    'typescript/prefer-ts-expect-error': 'error',
    'typescript/restrict-template-expressions': 'off', // numbers, ids and bigints are printed on purpose
    'typescript/no-unsafe-type-assertion': 'off', // each `as` says its reason; see test/tidy.test.ts
    'no-console': 'error',
    'no-var': 'error',
    'prefer-const': 'error',
    eqeqeq: 'error',
    'import/no-cycle': 'error',
    'import/no-default-export': 'off',
    'no-await-in-loop': 'off', // steps that must follow each other are the rule here
    'no-shadow': 'off', // `key`, `now` and `limit` are the field's words; renaming an inner one reads worse
    'no-underscore-dangle': 'off',
    'import/no-named-as-default-member': 'off',
    'oxc/no-async-endpoint-handlers': 'off', // a rule about Express; Fastify awaits its handlers
    'typescript/unbound-method': 'off', // there are no classes whose `this` could be lost
    'unicorn/prefer-set-has': 'off',
    'unicorn/no-array-sort': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'unicorn/no-array-for-each': 'off',
    'unicorn/prefer-top-level-await': 'off',
    'oxc/no-map-spread': 'off',
    'vitest/valid-expect': ['error', { maxArgs: 2 }], // Vitest takes a message
    'vitest/no-conditional-expect': 'off',
    'vitest/require-mock-type-parameters': 'off',
    'vitest/no-conditional-tests': 'off',
  },
  overrides: [
    ...floorRules,
    {
      files: ['server/src/cli/**', 'bin/**', 'scripts/**', 'bench/**', 'examples/**'],
      rules: { 'no-console': 'off' },
    },
  ],
});
