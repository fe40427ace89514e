import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { Agent, get as getPlain } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectSecurely, type SecureVersion } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { createMetrics } from '../metrics.ts';
import { startListening } from './listen.ts';
import { startRedirect } from './redirect.ts';
import { buildServer, type App, type ServerSettings } from './server.ts';
import { exchange, memoryLog, portOf, testServer, testSettings } from './testing.ts';
import type { TlsSettings } from './tls.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'florin-tls-'));
  for (const name of ['one']) {
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
        '-subj',
        `/CN=${name}.example`,
        '-addext',
        'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-keyout',
        join(folder, `${name}.key`),
        '-out',
        join(folder, `${name}.pem`),
      ],
      { stdio: 'ignore' },
    );
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

const tlsOf = (name: string, minVersion: '1.2' | '1.3'): TlsSettings => ({
  enabled: true,
  certFile: join(folder, `${name}.pem`),
  keyFile: join(folder, `${name}.key`),
  minVersion,
});

const secureServer = (minVersion: '1.2' | '1.3', limits: Partial<ServerSettings['server']> = {}) => {
  const { log, lines } = memoryLog();
  const tls = tlsOf('one', minVersion);
  const config = testSettings({ tls, ...limits });
  const app = buildServer({
    config,
    log,
    clock: systemClock,
    metrics: createMetrics({ process: false }),
    name: 'tls',
  });
  app.get('/', { config: { requires: 'public' } }, () => 'ok');
  return { app, log, lines, tls };
};

const handshake = (
  port: number,
  version: SecureVersion,
): Promise<{ protocol: string | null; name: string }> => {
  const { promise, resolve, reject } = Promise.withResolvers<{ protocol: string | null; name: string }>();
  const socket = connectSecurely({
    host: '127.0.0.1',
    port,
    minVersion: version,
    maxVersion: version,
    rejectUnauthorized: false,
  });
  socket.once('secureConnect', () => {
    resolve({ protocol: socket.getProtocol(), name: String(socket.getPeerCertificate().subject.CN) });
    socket.destroy();
  });
  socket.once('error', reject);
  return promise;
};

describe('TLS', () => {
  test('a client that opens a connection and begins no handshake is closed within the time for headers', async () => {
    const { app, log, tls } = secureServer('1.3', { headersTimeoutMs: 100 });
    const listening = await startListening(app, { host: '127.0.0.1', port: 0, log, tls });
    const silent = connect({ host: '127.0.0.1', port: listening.port });
    silent.on('error', () => undefined);
    // Ends, since the server closes it: Node would give it two minutes.
    expect(await once(silent.resume(), 'close')).toEqual([false]);
    await app.close();
  });

  test('HTTPS speaks TLS 1.3 alone, and start-up says so in the words of guide 004', async () => {
    const { app, log, lines, tls } = secureServer('1.3');
    const listening = await startListening(app, { host: '0.0.0.0', port: 0, log, tls });
    expect(lines).toMatchObject([
      { message: 'Starting HTTPS server', addr: `:${listening.port}`, tls_version: '1.3' },
    ]);
    expect((await handshake(listening.port, 'TLSv1.3')).protocol).toBe('TLSv1.3');
    await expect(handshake(listening.port, 'TLSv1.2')).rejects.toThrow('protocol version');
    await listening.stop();
  });

  test('TLS 1.2 is spoken where it is set, older never', async () => {
    const { app, log, tls } = secureServer('1.2');
    const listening = await startListening(app, { host: '127.0.0.1', port: 0, log, tls });
    expect((await handshake(listening.port, 'TLSv1.2')).protocol).toBe('TLSv1.2');
    expect((await handshake(listening.port, 'TLSv1.3')).protocol).toBe('TLSv1.3');
    await expect(handshake(listening.port, 'TLSv1.1')).rejects.toThrow(/protocol/);
    await listening.stop();
  });

  test('a plain request to the HTTPS port is closed and others are served', async () => {
    const { app, log, tls } = secureServer('1.3');
    const listening = await startListening(app, { host: '127.0.0.1', port: 0, log, tls });
    await exchange(listening.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const status = await new Promise((resolve) => {
      get({ host: '127.0.0.1', port: listening.port, rejectUnauthorized: false, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
    });
    expect(status).toBe(200);
    await listening.stop();
  });
});

describe('HTTP to HTTPS', () => {
  const redirecting = async (httpsPort: number) => {
    const { log } = memoryLog();
    const limits = testSettings().server;
    return startRedirect({ host: '127.0.0.1', port: 0, httpsPort, limits, log, clock: systemClock });
  };
  const ask = (port: number, target: string, host: string) =>
    exchange(port, `GET ${target} HTTP/1.1\r\nhost: ${host}\r\n\r\n`);

  test('every request is redirected with 301 to the same host and URI', async () => {
    const { port, stop } = await redirecting(443);
    const answer = await ask(port, '/api/v1/payments?limit=5', 'api.example.com:80');
    expect(answer).toMatch(/^HTTP\/1\.1 301 /);
    expect(answer).toMatch(/^location: https:\/\/api\.example\.com\/api\/v1\/payments\?limit=5\r$/im);
    expect(answer).toMatch(/^x-content-type-options: nosniff\r$/im);
    expect(answer).not.toMatch(/strict-transport-security/i);
    expect(await ask(port, '/', '[::1]:8080')).toMatch(/^location: https:\/\/\[::1\]\/\r$/im);
    await stop();
  });

  test('a port other than 443 is named', async () => {
    const { port, stop } = await redirecting(8443);
    expect(await ask(port, '/', 'localhost:8000')).toMatch(/^location: https:\/\/localhost:8443\/\r$/im);
    await stop();
  });

  test('a host that is no name gets no redirect', async () => {
    const { port, stop } = await redirecting(443);
    for (const host of [
      '',
      'evil.example/@a',
      'user@evil.example',
      'a b',
      'a?b',
      'a#b',
      '-a',
      'a'.repeat(260),
    ]) {
      const answer = await ask(port, '/', host);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect(answer).not.toMatch(/^location/im);
    }
    expect(await ask(port, 'http://evil.example/', 'a.example')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await exchange(port, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    await stop();
  });
});

describe('shutdown', () => {
  /** A server whose one route answers when the test says so. */
  const held = async (shutdownGraceMs: number) => {
    const arrived = Promise.withResolvers<void>();
    const release = Promise.withResolvers<string>();
    const server = await testServer(
      (app: App) => {
        app.get('/held', { config: { requires: 'public' } }, () => {
          arrived.resolve();
          return release.promise;
        });
        app.get('/', { config: { requires: 'public' } }, () => 'ok');
      },
      { shutdownGraceMs },
    );
    return { ...server, arrived: arrived.promise, release: release.resolve };
  };

  test('what was accepted is answered, with Connection: close, and nothing new is accepted', async () => {
    const server = await held(5_000);
    const answer = exchange(server.port, 'GET /held HTTP/1.1\r\nhost: a\r\n\r\n');
    await server.arrived;
    const closed = server.app.close();
    await expect(fetch(server.url)).rejects.toThrow('fetch failed');
    server.release('done');
    const text = await answer;
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text).toMatch(/^connection: close\r$/im);
    expect(text).toMatch(/done$/);
    await closed;
  });

  test('idle connections do not hold it up', async () => {
    const server = await held(5_000);
    const agent = new Agent({ keepAlive: true });
    await new Promise<void>((resolve) => {
      getPlain({ host: '127.0.0.1', port: server.port, agent }, (answer) =>
        answer.resume().once('end', resolve),
      );
    });
    const idle = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    const before = performance.now();
    await server.app.close();
    expect(performance.now() - before).toBeLessThan(2_000);
    agent.destroy();
    idle.destroy();
  });

  test('after the grace period what is left is cut off', async () => {
    const server = await held(50);
    const answer = exchange(server.port, 'GET /held HTTP/1.1\r\nhost: a\r\n\r\n');
    await server.arrived;
    await server.app.close();
    expect(await answer).toBe('');
    expect(server.lines.some((line) => String(line['message']).includes('cut off'))).toBe(true);
  });

  test('resources are closed after the last answer', async () => {
    const server = await testServer((app) => {
      let open = true;
      app.addHook('onClose', () => {
        open = false;
      });
      app.get('/', { config: { requires: 'public' } }, async () => {
        void app.close();
        await new Promise((resolve) => setImmediate(resolve));
        return { open };
      });
    });
    expect(await exchange(server.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toMatch(/\{"open":true\}$/);
    await server.app.close();
  });

  test('a port that is taken is an error', async () => {
    await using first = await testServer(() => undefined);
    const { log } = memoryLog();
    const metrics = createMetrics({ process: false });
    const second = buildServer({ config: testSettings(), log, clock: systemClock, metrics, name: 'second' });
    await expect(startListening(second, { host: '127.0.0.1', port: portOf(first.app), log })).rejects.toThrow(
      'EADDRINUSE',
    );
  });
});
