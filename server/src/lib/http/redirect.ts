import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { AppError } from '../errors.ts';
import { newId } from '../ids.ts';
import { answerUnreadable, createBoundedServer, type ConnectionLimits } from './connection.ts';
import { givenRequestId, securityHeaders } from './headers.ts';
import { listen, type Listening } from './listen.ts';
import { problemMediaType, problemOf } from './problem.ts';

type RedirectOptions = {
  host: string;
  port: number;
  /** The port of the HTTPS server as clients see it. */
  httpsPort: number;
  limits: ConnectionLimits;
  log: Logger;
  clock: Clock;
};

/** A plain listener that answers everything with guide 001's redirect: `301 https://$host$request_uri`. */
export const startRedirect = async (options: RedirectOptions): Promise<Listening> => {
  const { host, log, limits, httpsPort } = options;
  const server = createBoundedServer(limits, (request, response) => redirect(request, response, httpsPort));
  server.on('clientError', (error, socket) => {
    // The sockets of a plain HTTP server are TCP sockets; the event's type allows any stream.
    answerUnreadable(options, error, socket as Parameters<typeof answerUnreadable>[2]);
  });
  const port = await listen(server, { host, port: options.port });
  log.info({ addr: `:${port}`, https_port: httpsPort }, 'Redirecting HTTP to HTTPS');
  const stop = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeAllConnections();
    await promise;
  };
  return { host, port, stop };
};

const redirect = (request: IncomingMessage, response: ServerResponse, httpsPort: number): void => {
  const requestId = givenRequestId(request.headers['x-request-id']) ?? newId('request');
  // RFC 6797, 7.2: plain answers do not carry HSTS; the answer behind the redirect does.
  const { 'Strict-Transport-Security': _, ...headers } = securityHeaders;
  const location = secureLocation(request, httpsPort);
  const always = { ...headers, 'x-request-id': requestId, connection: 'close' };
  if (location !== undefined) {
    response.writeHead(301, { ...always, location }).end();
    return;
  }
  const refusal = new AppError('invalid_request', 'Send one Host header with a valid name, and a path.');
  response.writeHead(refusal.status, { ...always, 'content-type': problemMediaType });
  response.end(JSON.stringify(problemOf(refusal, requestId)));
};

const hostForm =
  /^([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

/** Where a request should go instead; nothing when its host could lead somewhere else than it says. */
const secureLocation = (request: IncomingMessage, httpsPort: number): string | undefined => {
  const name = hostForm.exec(request.headers.host ?? '')?.[1];
  const path = request.url ?? '/';
  if (name === undefined || !path.startsWith('/')) return undefined;
  return `https://${name}${httpsPort === 443 ? '' : `:${httpsPort}`}${path}`;
};
