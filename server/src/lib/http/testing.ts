import { connect } from 'node:net';
import { pino } from 'pino';
import { systemClock } from '../clock.ts';
import { createMetrics } from '../metrics.ts';
import { buildServer, type App, type ServerOptions, type ServerSettings } from './server.ts';

/** A log that keeps its lines, to see what a server writes. */
export const memoryLog = () => {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line));
  };
  return { lines, log: pino({ level: 'debug', base: null, messageKey: 'message' }, { write }) };
};

/** Server settings for tests: what production has, on a short leash. */
export const testSettings = (changes: Partial<ServerSettings['server']> = {}): ServerSettings => ({
  server: {
    trustProxy: false,
    bodyLimitBytes: 1024 * 1024,
    requestTimeoutMs: 10_000,
    headersTimeoutMs: 5_000,
    keepAliveTimeoutMs: 5_000,
    connectionsMax: 10_000,
    requestsMax: 512,
    shutdownGraceMs: 5_000,
    tls: { enabled: false, minVersion: '1.3' },
    cors: { allowedOrigins: ['https://shop.example'], allowCredentials: true },
    ...changes,
  },
});

/** A real server on a free port, with the routes of the test; closes itself at the end of its scope. */
export const testServer = async (
  mount: (app: App) => void | Promise<void>,
  changes: Partial<ServerSettings['server']> = {},
  options: Partial<ServerOptions> = {},
) => {
  const { log, lines } = memoryLog();
  const metrics = createMetrics({ process: false });
  const config = testSettings(changes);
  const app = buildServer({ config, log, clock: systemClock, metrics, name: 'test', ...options });
  await mount(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const port = portOf(app);
  return {
    app,
    port,
    url: `http://127.0.0.1:${port}`,
    lines,
    metrics,
    [Symbol.asyncDispose]: () => app.close(),
  };
};

/** The port that a listening server was given. */
export const portOf = (app: Pick<App, 'server'>): number => {
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the server listens on no port');
  return address.port;
};

/** Writes bytes to a port as they are, and gives everything that came back until the server closed the connection. */
export const exchange = (port: number, bytes: string | Buffer): Promise<string> => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // A server that refuses a body while it is still being sent resets the connection; what it answered counts.
  socket.on('error', () => socket.destroy());
  socket.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
  return promise;
};

/** The JSON body of a raw answer. */
export const bodyOf = (answer: string): Record<string, unknown> =>
  JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
