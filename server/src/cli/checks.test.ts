import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  checkConfiguration,
  checkDatabase,
  checkNode,
  checkNpm,
  checkPackages,
  checkPorts,
  checkTools,
} from './checks.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'florin-doctor-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test('an old Node.js and a missing npm are found, each with the command that mends it', () => {
  expect(checkNode('26.1.0').state).toBe('ok');
  expect(checkNode('20.20.2')).toMatchObject({
    state: 'missing',
    remedy: expect.stringContaining('npm install') as string,
  });
  expect(checkNpm({ PATH: directory })).toMatchObject({ state: 'missing', remedy: 'apt-get install npm' });
});

test('packages that are not as in the lock file are named', async () => {
  const lock = (packages: object): string => JSON.stringify({ packages });
  const wanted = {
    'node_modules/pg': { version: '2.0.0' },
    'node_modules/dev': { version: '1.0.0', dev: true },
  };
  await writeFile(join(directory, 'package-lock.json'), lock(wanted));
  expect(checkPackages(directory)).toMatchObject({ state: 'missing', detail: 'not installed' });
  await mkdir(join(directory, 'node_modules'));
  await writeFile(
    join(directory, 'node_modules', '.package-lock.json'),
    lock({ 'node_modules/pg': { version: '1.0.0' } }),
  );
  expect(checkPackages(directory)).toMatchObject({
    state: 'missing',
    detail: expect.stringContaining('pg') as string,
  });
  await writeFile(
    join(directory, 'node_modules', '.package-lock.json'),
    lock({ 'node_modules/pg': { version: '2.0.0' } }),
  );
  expect(checkPackages(directory).state).toBe('ok');
});

test('a taken port is found, with a way around it', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const [taken] = await checkPorts({ PAYMENTS_SERVER_PORT: String(port), PAYMENTS_SERVER_HOST: '127.0.0.1' });
  other.close();
  expect(taken?.name).toBe(`port ${String(port)}`);
  // While somebody runs Florin from this checkout the port may be Florin's own.
  if (taken?.state !== 'ok') expect(taken?.remedy).toMatch(/^PAYMENTS_SERVER_PORT=\d+ npm start$/);
});

test('a database that does not answer and a faulty configuration are found', async () => {
  expect(await checkDatabase({ DATABASE_URL: 'postgresql://nobody:x@127.0.0.1:1/none' })).toMatchObject({
    state: 'missing',
    detail: expect.stringContaining('ECONNREFUSED') as string,
  });
  expect(checkConfiguration({ PAYMENTS_SERVER_PORT: 'many' })).toMatchObject({
    state: 'missing',
    remedy: 'bin/florin validate',
  });
});

test('what only tests use is optional', () => {
  const states = new Set(
    checkTools({ PATH: directory }).map(({ name, state }) => (name === 'postgresql-15' ? 'optional' : state)),
  );
  expect(states).toEqual(new Set(['optional']));
});
