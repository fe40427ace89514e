import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

/** `npm run test:fuzz`: the test of random requests with more of them. Vitest starts the database that it needs. */
const usage = `Usage: npm run test:fuzz [-- --requests N --seed S]

Sends random requests for every operation of the OpenAPI document, over HTTP, to a Florin of its own, and holds each
answer against the document. Fails on a 5xx, on a status, code or body that is not documented, on an answer that tells
of the inside or shows what belongs to another tenant, and if the books do not agree afterwards.

  --requests N   how many requests, 50000 unless told
  --seed S       which random choices, a number; printed at the start, a random one unless told
  --help         this text
`;

const options = {
  requests: { type: 'string', default: '50000' },
  seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
  help: { type: 'boolean', default: false },
} as const;

const main = (): number => {
  const { requests, seed, help } = parseArgs({ options }).values;
  if (help || !/^[1-9]\d{0,8}$/.test(requests) || !/^\d{1,10}$/.test(seed)) {
    process.stdout.write(usage);
    return help ? 0 : 2;
  }
  process.stdout.write(
    `${requests} requests, seed ${seed}; repeat with --requests ${requests} --seed ${seed}\n`,
  );
  const { status } = spawnSync('vitest', ['run', 'server/test/hostile/fuzz.test.ts'], {
    stdio: 'inherit',
    env: { ...process.env, FLORIN_FUZZ_REQUESTS: requests, FLORIN_FUZZ_SEED: seed },
  });
  return status ?? 1;
};

process.exitCode = main();
