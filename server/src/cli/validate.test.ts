import { Command } from 'commander';
import { expect, test } from 'vitest';
import type { Env } from '../lib/config/environment.ts';
import { register as registerConfig } from './config.ts';
import { register, validateOnly } from './validate.ts';

const run = (env: Env): { code: number; stdout: string; stderr: string } => {
  const written = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (written[name] += text) });
  const code = validateOnly('api', env, { stdout: stream('stdout'), stderr: stream('stderr') });
  return { code, ...written };
};

test('a valid configuration exits 0', () => {
  expect(run({ ENV: 'dev' })).toEqual({
    code: 0,
    stdout: 'The configuration of api is valid in dev.\n',
    stderr: '',
  });
});

test('every fault is a line that begins with Error, and the exit code is 1', () => {
  expect(run({ ENV: 'production', PAYMENTS_SERVRE_PORT: '1' })).toEqual({
    code: 1,
    stdout: '',
    stderr: [
      'Warning: PAYMENTS_SERVRE_PORT is not a setting; did you mean PAYMENTS_SERVER_PORT?',
      'Error: database.password required in production',
      'Error: auth.jwt_secret required in production',
      'Error: server.tls.enabled must be true in production',
      '',
    ].join('\n'),
  });
});

test('the commands are registered with examples', () => {
  const program = new Command('florin');
  register(program);
  registerConfig(program);
  expect(program.commands.map((command) => command.name())).toEqual(['validate', 'config']);
  expect(program.commands[1]?.commands.map((command) => command.name())).toEqual(['print', 'docs']);
});
