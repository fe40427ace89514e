import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { manualClock } from './clock.ts';
import { createLog, flushLog, moduleLog } from './log.ts';
import type { Log, LogSettings } from './log.ts';
import { Secret } from './secret.ts';

const folder = mkdtempSync(join(tmpdir(), 'florin-log-'));
afterAll(() => rmSync(folder, { recursive: true }));

const open = (
  settings: Partial<LogSettings> = {},
): { log: Log; lines: string[]; parsed: () => Record<string, unknown>[] } => {
  const lines: string[] = [];
  const log = createLog(
    { log: { level: 'info', levels: {}, format: 'json', filesKept: 30, ...settings } },
    { service: 'api', destination: { write: (line) => lines.push(line) } },
  );
  return { log, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
};

describe('lines', () => {
  test('are JSON as guide 004 prints it', () => {
    const { log, lines, parsed } = open();
    log.info({ addr: ':443', tls_version: '1.3' }, 'Starting HTTPS server');
    const [line] = parsed();
    expect(line).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      service: 'api',
      addr: ':443',
      tls_version: '1.3',
      message: 'Starting HTTPS server',
    });
    expect(lines[0]).toMatch(/^\{"level":"info","time":".*\}\n$/);
  });

  test('name the module and keep to its level', () => {
    const { log, parsed } = open({ levels: { payments: 'debug', http: 'error' } });
    moduleLog(log, 'payments').debug('shown');
    moduleLog(moduleLog(log, 'payments'), 'http').warn('hidden');
    moduleLog(log, 'http').error('shown');
    moduleLog(log, 'ledger').debug('hidden');
    moduleLog(log, 'ledger').info('shown');
    expect(parsed().map(({ module, message }) => [module, message])).toEqual([
      ['payments', 'shown'],
      ['http', 'shown'],
      ['ledger', 'shown'],
    ]);
  });

  test('of every module follow the level of *', () => {
    const { log, parsed } = open({ levels: { '*': 'warn', ledger: 'info' } });
    log.info('hidden');
    moduleLog(log, 'payments').info('hidden');
    moduleLog(log, 'ledger').info('shown');
    expect(parsed()).toHaveLength(1);
  });

  test('tell of an error its type, message, code, stack and causes, and nothing that hangs on it', () => {
    const { log, parsed } = open();
    const cause = Object.assign(new TypeError('inner'), {
      code: 'ECONNREFUSED',
      detail: 'Key (email)=(a@b.example)',
    });
    log.error({ err: new AggregateError([new Error('one')], 'outer', { cause }) }, 'failed');
    expect(parsed()[0]?.['err']).toEqual({
      type: 'AggregateError',
      message: 'outer',
      stack: expect.any(String),
      cause: { type: 'TypeError', message: 'inner', code: 'ECONNREFUSED', stack: expect.any(String) },
      errors: [{ type: 'Error', message: 'one', stack: expect.any(String) }],
    });
  });

  test('end at an error that is its own cause', () => {
    const { log, parsed } = open();
    const error = new Error('round');
    error.cause = error;
    log.error(error);
    expect(parsed()).toHaveLength(1);
  });
});

describe('readable lines', () => {
  test('are time, module, level, message, fields', () => {
    const { log, lines } = open({ format: 'pretty' });
    log.warn('careful');
    moduleLog(log, 'payments').info({ amount: '1.00' }, 'captured');
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[api\] WARN {2}careful\s*$/);
    expect(lines[1]).toMatch(/^\S+ \S+ \[payments\] INFO {2}captured \{"amount":"1.00"\}\n$/);
  });

  test('can not steer the terminal', () => {
    const { log, lines } = open({ format: 'pretty' });
    const text = 'a\u001b[31mb\u009b2Jc\r\nFORGED line';
    log.info({ field: text, nested: [{ text }] }, text);
    expect(lines.join('').trimEnd()).not.toMatch(/[\p{Cc}]/u);
    log.error(new Error(text), text);
    expect(lines.join('').replaceAll('\n', '')).not.toMatch(/[\p{Cc}]/u);
  });
});

describe('log.file', () => {
  test('gets every line as JSON, for its owner and group, and is opened anew on SIGHUP', async () => {
    const file = join(folder, 'deep', 'app.log');
    const { log, lines } = open({ file, format: 'pretty' });
    log.info('one');
    await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toMatch(/"message":"one"\}\n$/));
    expect(lines).toHaveLength(1);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    renameSync(file, `${file}.1`);
    process.emit('SIGHUP');
    log.info({ password: 'hunter2' }, 'two');
    await vi.waitFor(() =>
      expect(readFileSync(file, 'utf8')).toMatch(/"password":"\[REDACTED\]","message":"two"\}\n$/),
    );
    expect(readFileSync(`${file}.1`, 'utf8')).not.toContain('two');
  });

  test('that can not be written costs no line of the standard output, and says so once', async () => {
    // A folder, and a device that is always full.
    for (const file of [folder, '/dev/full']) {
      const { log, parsed } = open({ file });
      log.info('one');
      await flushLog(log);
      log.info('two');
      await flushLog(log);
      expect(parsed()).toMatchObject([
        { message: 'one' },
        { level: 'error', message: expect.stringContaining('log.file can’t be written') },
        { message: 'two' },
      ]);
    }
  });

  test('tells how many lines it lost, for a metric', async () => {
    const clock = manualClock('2026-11-22T08:00:00Z');
    let lost = 0;
    const log = createLog(
      { log: { level: 'info', levels: {}, format: 'json', filesKept: 1, file: '/dev/full' } },
      {
        service: 'api',
        destination: { write: () => undefined },
        clock,
        onLinesLost: (lines) => (lost += lines),
      },
    );
    for (let line = 0; line < 10; line += 1) log.info('lost');
    await flushLog(log);
    await vi.waitFor(() => expect(lost).toBe(11));
  });

  test.each(['json', 'pretty'])('a full disk behind the standard output ends nothing: %s', (format) => {
    const script = `
      import { createLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
      const log = createLog(
        { log: { level: 'info', levels: {}, format: '${format}', filesKept: 1, file: '${join(folder, `${format}.log`)}' } },
        { service: 'api' },
      );
      for (let turn = 0; turn < 3; turn += 1) {
        log.info('line');
        await new Promise((resolve) => setImmediate(resolve));
      }
      process.exit(7);`;
    const full = openSync('/dev/full', 'w');
    const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', full, 'inherit'],
      timeout: 15_000,
    });
    closeSync(full);
    expect({ status, signal }).toEqual({ status: 7, signal: null });
    const written = readFileSync(join(folder, `${format}.log`), 'utf8');
    expect(written.match(/"line"/g)).toHaveLength(3);
  });
});

describe('planted secrets and card numbers', () => {
  const planted = {
    card: '4111111111111111',
    spaced: '5555 5555 5555 4444',
    dashed: '3782-822463-10005',
    apiKey: `fk_live_${'a1b2c3d4'.repeat(6)}`,
    jwt: 'eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ0ZXN0In0.b2YtYW4tYWNjZXNzLXRva2Vu',
    byKey: 'hunter2-plain',
    secret: 'revealed-secret',
  };
  const all = `${planted.card} ${planted.spaced}; ${planted.dashed}; ${planted.apiKey}; ${planted.jwt}`;
  const keys = ['authorization', 'x-api-key', 'x-client-secret', 'password', 'secret', 'token', 'cookie'];
  const byKeys = Object.fromEntries(keys.map((key) => [key, planted.byKey]));
  const nested = {
    list: [[{ ...byKeys, deep: [{ text: all, list: [all] }] }]],
    secretly: new Secret(planted.secret),
  };

  const plant: Record<string, (log: Log) => void> = {
    'a message': (log) => log.info(`before ${all} after`),
    'an interpolated message': (log) => log.info('%s and %o', all, { ...byKeys, all }),
    'a field': (log) =>
      log.info({ note: all, ...byKeys, number: Number(planted.card), held: new Secret(planted.secret) }),
    'nested fields': (log) => log.info(nested, 'nested'),
    'a name of a field': (log) => log.info({ [planted.card]: 1, deep: { [all]: 1 } }),
    'headers as a list': (log) =>
      log.info({ headers: ['authorization', `Bearer ${planted.byKey}`, 'x', all] }),
    'a child': (log) => log.child({ ...byKeys, note: all, nested }).info('child'),
    "a module's child": (log) => moduleLog(log, 'payments').child({ all }).info(all),
    'an error': (log) => log.error(new Error(all), all),
    'an error as a field': (log) =>
      log.error({ err: Object.assign(new Error(all), byKeys), error: new Error(all) }),
    'an error elsewhere': (log) => log.error({ failure: Object.assign(new Error(all), { ...byKeys, all }) }),
    causes: (log) =>
      log.error({
        err: new Error('outer', {
          cause: new Error(all, { cause: new AggregateError([new Error(all)], all) }),
        }),
      }),
    'a cause that is text': (log) => log.error({ err: new Error('outer', { cause: all }) }),
    'JSON in text': (log) => log.info({ body: JSON.stringify({ ...byKeys, all }) }, JSON.stringify(byKeys)),
    'a URL': (log) => log.info(`postgres://u:${planted.byKey}@h/d and /x?token=${planted.byKey}`),
  };

  const file = join(folder, 'planted.log');
  const opened = { json: open(), pretty: open({ format: 'pretty' }), file: open({ file }) };

  test.each(Object.keys(plant))('in %s are in no line', async (where) => {
    for (const { log, lines } of Object.values(opened)) {
      lines.length = 0;
      plant[where]?.(log);
      expect(lines.join('')).toContain('[REDACTED]');
      for (const value of Object.values(planted)) expect(lines.join('')).not.toContain(value);
    }
  });

  test('are in no file', async () => {
    await vi.waitFor(() =>
      expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(Object.keys(plant).length),
    );
    for (const value of Object.values(planted)) expect(readFileSync(file, 'utf8')).not.toContain(value);
  });
});
