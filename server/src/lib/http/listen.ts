import type { Server } from 'node:http';
import { Server as SecureServer } from 'node:https';
import type { Logger } from 'pino';
import type { App } from './server.ts';
import type { TlsSettings } from './tls.ts';

/** Something that listens; `stop` answers what was accepted, then closes everything the server opened. */
export type Listening = { host: string; port: number; stop(): Promise<void> };

type Address = { host: string; port: number };

/**
 * Starts a server on an address and says so in guide 004's line. Port 0 takes a free one.
 * @throws Error such as EADDRINUSE when it cannot listen
 */
export const startListening = async (
  app: App,
  { host, port, log, tls }: Address & { log: Logger; tls?: Pick<TlsSettings, 'minVersion'> },
): Promise<Listening> => {
  // Fastify's own `listen` writes a line in its own words and listens twice on `localhost`.
  await app.ready();
  const taken = await listen(app.server, { host, port });
  const addr = addrOf({ host, port: taken });
  if (app.server instanceof SecureServer)
    log.info({ addr, tls_version: tls?.minVersion ?? '1.3' }, 'Starting HTTPS server');
  else log.info({ addr }, 'Starting HTTP server');
  return { host, port: taken, stop: () => app.close() };
};

/**
 * How many connections may wait to be accepted; the system may allow fewer. What finds no room comes back after a whole
 * second, so a crowd that arrives at once needs more than Node's 511.
 */
const backlog = 4096;

/** Listens, and gives the port that was taken. */
export const listen = async (server: Server, { host, port }: Address): Promise<number> => {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port, backlog }, resolve);
  await promise;
  server.off('error', reject);
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
};

/** As guide 004 prints it: `:443` on all interfaces, else `127.0.0.1:8080`. */
const addrOf = ({ host, port }: Address): string => {
  if (host === '0.0.0.0' || host === '::') return `:${port}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
};
