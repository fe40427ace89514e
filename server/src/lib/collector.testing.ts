import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** One request that a collector got. */
export type Received = { path: string; headers: IncomingHttpHeaders; body: string };

/** A collector of traces or of error reports, as far as HTTP goes: keeps what arrives, and answers as it is told. */
export const startCollector = async () => {
  const received: Received[] = [];
  const answers = { status: 200, isSilent: false };
  const server = createServer(async (request, response) => {
    const body = await text(request);
    received.push({ path: request.url ?? '', headers: request.headers, body });
    if (!answers.isSilent) response.writeHead(answers.status).end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // It listens on TCP.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    received,
    answers,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

export type Collector = Awaited<ReturnType<typeof startCollector>>;

/** A span as it is on the wire, with its attributes as one object. */
export type WireSpan = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code?: number };
  attributes: Record<string, unknown>;
};

type Attribute = { key: string; value: Record<string, unknown> };
type ExportRequest = {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: { spans: (Omit<WireSpan, 'attributes'> & { attributes: Attribute[] })[] }[];
  }[];
};

const flat = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

/** Every span that arrived, with the attributes of who made it. */
export const spansIn = (
  received: readonly Received[],
): (WireSpan & { resource: Record<string, unknown> })[] =>
  received.flatMap(({ body }) =>
    (JSON.parse(body) as ExportRequest).resourceSpans.flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) =>
        spans.map((span) => ({
          ...span,
          attributes: flat(span.attributes),
          resource: flat(resource.attributes),
        })),
      ),
    ),
  );
