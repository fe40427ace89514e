import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { Agent, get, Server as SecureServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { manualClock, systemClock } from '../clock.ts';
import { createMetrics } from '../metrics.ts';
import { watchCertificate, type CertificateWatch } from './certificate.ts';
import { startListening, type Listening } from './listen.ts';
import { buildServer } from './server.ts';
import { memoryLog, testSettings } from './testing.ts';

let made: string;
beforeAll(() => {
  made = mkdtempSync(join(tmpdir(), 'florin-certificates-'));
  for (const name of ['one', 'two']) makeCertificate(name);
});
afterAll(() => rmSync(made, { recursive: true }));

const makeCertificate = (name: string): void => {
  const files = ['-keyout', join(made, `${name}.key`), '-out', join(made, `${name}.pem`)];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '90'];
  execFileSync('openssl', ['req', '-x509', ...kind, '-subj', `/CN=${name}.example`, ...files], {
    stdio: 'ignore',
  });
};

let folder: string;
const stops: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'florin-certificate-'));
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  rmSync(folder, { recursive: true });
});

const put = (name: string, to = folder): void => {
  copyFileSync(join(made, `${name}.pem`), join(to, 'tls.crt'));
  copyFileSync(join(made, `${name}.key`), join(to, 'tls.key'));
};

/** An HTTPS server with the certificate that lies in `folder`, or in a folder in it, and its watch. */
const serving = async ({ below = '', clock = systemClock, everyMs = 10 } = {}) => {
  const { log, lines } = memoryLog();
  const metrics = createMetrics({ process: false });
  const [certFile, keyFile] = [join(folder, below, 'tls.crt'), join(folder, below, 'tls.key')];
  const tls = { enabled: true, certFile, keyFile, minVersion: '1.3' as const };
  const app = buildServer({ config: testSettings({ tls }), log, clock, metrics, name: 'tls' });
  app.get('/', { config: { requires: 'public' } }, () => 'ok');
  const listening: Listening = await startListening(app, { host: '127.0.0.1', port: 0, log, tls });
  if (!(app.server instanceof SecureServer)) throw new Error('no TLS');
  const watch: CertificateWatch = watchCertificate({ server: app.server, tls, log, clock, metrics, everyMs });
  stops.push(
    () => watch.stop(),
    () => listening.stop(),
  );
  // Its first look is over.
  await expect.poll(() => metrics.text()).toContain('expiry_timestamp_seconds{');
  const messages = (): unknown[] => lines.map(({ message }) => message);
  return { port: listening.port, watch, lines, messages, metrics, certFile };
};

const nameOf = (socket: TLSSocket): string => String(socket.getPeerCertificate().subject.CN);

/** Whose certificate a new connection gets. */
const named = async (port: number): Promise<string> => {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const name = nameOf(socket);
  socket.destroy();
  return name;
};

const becomes = (port: number, name: string) =>
  expect.poll(() => named(port), { timeout: 10_000 }).toBe(`${name}.example`);

describe('a changed certificate is taken up', () => {
  test('while an open connection goes on working', async () => {
    put('one');
    const { port, lines } = await serving();
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    const sockets = new Set<TLSSocket>();
    const ask = async (): Promise<{ status: number | undefined; name: string }> => {
      const request = get({ host: '127.0.0.1', port, agent });
      const [answer] = await once(request, 'response');
      // An agent of `node:https` has TLS sockets.
      const socket = request.socket as TLSSocket;
      sockets.add(socket);
      const name = nameOf(socket);
      await once(answer.resume(), 'end');
      return { status: answer.statusCode, name };
    };
    expect(await ask()).toEqual({ status: 200, name: 'one.example' });
    put('two');
    await becomes(port, 'two');
    expect(await ask()).toEqual({ status: 200, name: 'one.example' });
    expect(sockets.size).toBe(1);
    expect(lines).toContainEqual(
      expect.objectContaining({ message: 'Certificate reloaded', serial: expect.any(String) }),
    );
    agent.destroy();
  });

  test('when its files are renamed into place, as certbot does', async () => {
    put('one');
    const { port } = await serving();
    for (const [from, to] of [
      ['two.pem', 'tls.crt'],
      ['two.key', 'tls.key'],
    ] as const) {
      copyFileSync(join(made, from), join(folder, 'new'));
      renameSync(join(folder, 'new'), join(folder, to));
    }
    await expect.poll(() => named(port), { timeout: 10_000 }).toBe('two.example');
  });

  test('when a symbolic link above them is swapped, as Kubernetes does', async () => {
    for (const name of ['one', 'two']) {
      mkdirSync(join(folder, `..${name}`));
      put(name, join(folder, `..${name}`));
    }
    symlinkSync('..one', join(folder, '..data'));
    for (const file of ['tls.crt', 'tls.key']) symlinkSync(join('..data', file), join(folder, file));
    const { port } = await serving();
    expect(await named(port)).toBe('one.example');
    symlinkSync('..two', join(folder, '..tmp'));
    renameSync(join(folder, '..tmp'), join(folder, '..data'));
    await becomes(port, 'two');
  });

  test('at once on a signal, however rarely the files are looked at', async () => {
    put('one');
    const { port, watch } = await serving({ everyMs: 3_600_000 });
    put('two');
    await watch.reload();
    expect(await named(port)).toBe('two.example');
  });
});

describe('what is no certificate leaves the old one', () => {
  test.each([
    ['half a pair', () => copyFileSync(join(made, 'two.pem'), join(folder, 'tls.crt')), /does not belong/],
    ['a file that is cut off', () => truncateSync(join(folder, 'tls.crt'), 300), /PEM|asn1|bad|end/i],
    ['an empty key', () => writeFileSync(join(folder, 'tls.key'), ''), /./],
  ])('%s', async (_, spoil, reason) => {
    put('one');
    const { port, watch, lines, messages, metrics } = await serving();
    spoil();
    await expect.poll(messages).toContain('The certificate could not be reloaded; the old one stays');
    expect(lines.find(({ level }) => level === 50)?.['err']).toMatchObject({
      message: expect.stringMatching(reason),
    });
    expect(await named(port)).toBe('one.example');
    // It says so once, not at every look.
    const failures = () =>
      metrics.text().then((text) => /reloads_total\{result="failure"\} (\d+)/.exec(text)?.[1]);
    for (let look = 0; look < 5; look += 1) await named(port);
    expect(await failures()).toBe('1');
    put('two');
    await becomes(port, 'two');
    watch.stop();
  });

  test('a missing file', async () => {
    put('one');
    const { port, watch } = await serving();
    rmSync(join(folder, 'tls.key'));
    await watch.reload();
    expect(await named(port)).toBe('one.example');
  });
});

describe('expiry', () => {
  test('is a metric of one series, which follows the certificate', async () => {
    put('one');
    const { watch, metrics, certFile } = await serving();
    const expiry = async (): Promise<number> => {
      const series =
        (await metrics.text()).match(/^payments_certificate_expiry_timestamp_seconds\{.*$/gm) ?? [];
      expect(series).toHaveLength(1);
      expect(series[0]).toContain(`{file="${certFile}"}`);
      return Number(series[0]?.split(' ').at(-1));
    };
    const inDays = (days: number) => Date.now() / 1000 + days * 86_400;
    expect(await expiry()).toBeGreaterThan(inDays(89));
    expect(await expiry()).toBeLessThan(inDays(91));
    put('two');
    await watch.reload();
    expect(await expiry()).toBeGreaterThan(inDays(89));
  });

  test('is warned of once a day below 30 and below 7 days, and is an error afterwards', async () => {
    put('one');
    const clock = manualClock(new Date());
    const { lines } = await serving({ clock });
    const told = () =>
      lines.flatMap(({ level, message }) => (/expire/.test(String(message)) ? [[level, message]] : []));
    const [warn, error] = [40, 50];
    const day = 86_400_000;
    clock.advance(59 * day);
    const expected = [];
    for (const [days, line] of [
      [2, [warn, 'The certificate expires in less than 30 days']],
      [1, [warn, 'The certificate expires in less than 30 days']],
      [22, [warn, 'The certificate expires in less than 7 days']],
      [8, [error, 'The certificate has expired: clients refuse it']],
    ] as const) {
      expect(told()).toEqual(expected);
      clock.advance(days * day);
      expected.push(line);
      await expect.poll(told).toEqual(expected);
    }
  });
});
