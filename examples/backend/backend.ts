import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { openBook, type Answer, type Book, type Request } from './book.ts';
import { isFault, openFaults, type Fault, type Faults } from './faults.ts';
import { openNotices, type Notices } from './notices.ts';
import { refusalOf } from './signature.ts';

export type BackendOptions = {
  /** The one that Florin has as `backend.secret`. */
  secret: string;
  /** Where Florin is told how operations ended; without it nobody is told, and Florin asks. */
  florinUrl?: string | undefined;
  port?: number;
  now?: () => Date;
};

/** A payment backend, running. */
export type Backend = AsyncDisposable & {
  url: string;
  book: Book;
  faults: Faults;
  notices: Notices;
  close(): Promise<void>;
};

/** Starts the example backend on a port of this machine. */
export const startBackend = async (options: BackendOptions): Promise<Backend> => {
  const { secret, florinUrl, port = 0, now = () => new Date() } = options;
  const parts: Parts = {
    secret,
    now,
    book: openBook(),
    faults: openFaults(),
    notices: openNotices({ florinUrl, secret, now }),
  };
  const server = createServer((request, response) => {
    serve(parts, request, response).catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      if (!response.headersSent) response.writeHead(500).end();
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    await parts.notices.stop();
    server.close();
    server.closeAllConnections();
  };
  // It listens on TCP, so it has a port.
  const { port: chosen } = server.address() as AddressInfo;
  return { ...parts, url: `http://127.0.0.1:${chosen}`, close, [Symbol.asyncDispose]: close };
};

type Parts = { secret: string; now: () => Date; book: Book; faults: Faults; notices: Notices };

const serve = async (parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const body = await bodyOf(request);
  const path = request.url ?? '/';
  if (path.startsWith('/control/')) return control(parts, { method: request.method, path, body }, response);
  const refusal = refusalOf(parts.secret, { headers: request.headers, body }, parts.now());
  if (refusal !== undefined) return send(response, 401, { error: refusal });
  const asked = JSON.parse(body.toString('utf8')) as Request; // whoever can sign it keeps to the contract
  // The signature covers the body alone, so the body says what is asked, and the path can't say something else.
  if (request.method !== 'POST' || path !== `/${asked.kind}`)
    return send(response, 404, { error: 'no such request' });
  if (asked.kind === 'status') return send(response, 200, parts.book.find(asked.operation_id));
  return perform(parts, asked, response);
};

const perform = async (parts: Parts, asked: Request, response: ServerResponse): Promise<void> => {
  const { book, notices } = parts;
  const isRepeated = book.find(asked.operation_id).outcome !== 'absent';
  const fault = isRepeated ? undefined : parts.faults.of(asked);
  if (fault) return misbehave(parts, fault, asked, response);
  const answer = book.perform(asked);
  send(response, 200, answer);
  await notices.tell(answer);
};

/** Each fault as `faults.ts` describes it. What hangs tells nobody: Florin has to ask. */
const misbehave = async (
  { book, notices }: Parts,
  fault: Fault,
  asked: Request,
  response: ServerResponse,
): Promise<void> => {
  const pending: Answer = { operation_id: asked.operation_id, outcome: 'pending' };
  switch (fault) {
    case 'slow':
      await wait(2_000);
      return send(response, 200, book.perform(asked));
    case 'error_500':
      return send(response, 500, { error: 'out of order' });
    case 'error_500_after_charging':
      book.perform(asked);
      return send(response, 500, { error: 'out of order' });
    case 'hang':
      book.perform(asked);
      return;
    case 'hang_before_charging':
      return;
    case 'hang_for_ever':
      return book.rewrite(pending);
    case 'reset':
      book.perform(asked);
      return void response.socket?.resetAndDestroy();
    case 'reset_before_charging':
      return void response.socket?.resetAndDestroy();
    case 'duplicate_charge': {
      const first = book.perform(asked);
      send(response, 200, first);
      await notices.tell(first);
      return notices.tell(book.moveAgain(asked));
    }
    case 'wrong_amount': {
      const answer = book.perform({ ...asked, amount_minor: String(BigInt(asked.amount_minor) + 1n) });
      send(response, 200, answer);
      return notices.tell(answer);
    }
    case 'out_of_order': {
      const answer = book.perform(asked);
      await notices.tell(answer);
      await notices.tell(pending);
      return send(response, 200, answer);
    }
    case 'contradict': {
      send(response, 200, book.perform(asked));
      return notices.tell({
        operation_id: asked.operation_id,
        outcome: 'declined',
        failure_code: 'do_not_honor',
      });
    }
    case 'rubbish':
      book.perform(asked);
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>It works!</h1>');
    case 'huge': {
      const answer = book.perform(asked);
      return send(response, 200, { ...answer, padding: 'x'.repeat(10 * 1024 * 1024) });
    }
  }
};

/** For tests and for the curious: faults are switched, and the books are shown. Not part of the contract. */
const control = async (
  { book, faults, notices }: Parts,
  { method, path, body }: { method: string | undefined; path: string; body: Buffer },
  response: ServerResponse,
): Promise<void> => {
  if (method === 'GET' && path === '/control/movements') return send(response, 200, book.movements());
  if (method === 'DELETE' && path === '/control/faults') {
    faults.clear();
    return send(response, 200, {});
  }
  const given = JSON.parse(body.toString('utf8') || '{}') as Record<string, string | number>; // nobody else calls this
  if (method === 'POST' && path === '/control/faults') {
    const { fault, kind = 'authorise', times = 1 } = given;
    if (typeof fault !== 'string' || !isFault(fault)) return send(response, 400, { error: 'no such fault' });
    faults.arm({ fault, kind: String(kind), times: Number(times) });
    return send(response, 200, {});
  }
  if (method === 'POST' && path === '/control/notices') {
    const answer = book.find(String(given['operation_id']));
    return send(response, 200, { status: await notices.tellOnce(answer, String(given['id'] ?? 'by-hand')) });
  }
  return send(response, 404, { error: 'no such control' });
};

const send = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

const bodyMaxBytes = 64 * 1024;

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    const piece = chunk as Buffer; // no encoding is set, so it comes in bytes
    bytes += piece.length;
    if (bytes > bodyMaxBytes) throw new Error('a request is too large');
    chunks.push(piece);
  }
  return Buffer.concat(chunks);
};
