import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A load balancer of connections, as small as one can be: in turn to every backend whose readiness says yes. */
export type Balancer = AsyncDisposable & {
  port: number;
  /** The ports of its backends, by their names; another port may take over a name at any time. */
  backends: Map<string, number>;
  /** The names that are sent new connections. */
  ready(): string[];
};

const askEveryMs = 50;

/** Starts a balancer without backends. It follows `/health/ready`, and tries the next where nobody listens. */
export const startBalancer = async (): Promise<Balancer> => {
  const backends = new Map<string, number>();
  const readyPorts = new Set<number>();
  const sockets = new Set<Socket>();
  let turn = 0;

  const ask = async (port: number): Promise<void> => {
    const isReady = await fetch(`http://127.0.0.1:${port}/health/ready`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(2_000),
    }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isReady) readyPorts.add(port);
    else readyPorts.delete(port);
  };
  const timer = setInterval(() => {
    for (const port of readyPorts) if (![...backends.values()].includes(port)) readyPorts.delete(port);
    for (const port of backends.values()) void ask(port);
  }, askEveryMs);

  const pass = (client: Socket, ports: readonly number[]): void => {
    const [port, ...others] = ports;
    if (port === undefined) return void client.destroy();
    const backend = connect({ port, host: '127.0.0.1', noDelay: true });
    sockets.add(backend);
    let isOpen = false;
    backend.once('connect', () => {
      isOpen = true;
      client.pipe(backend).pipe(client);
    });
    backend.on('error', () => {
      if (isOpen) client.destroy();
      else pass(client, others);
    });
    backend.once('close', () => {
      sockets.delete(backend);
      if (isOpen) client.destroy();
    });
    client.once('close', () => backend.destroy());
  };

  const server = createServer({ noDelay: true }, (client) => {
    sockets.add(client);
    client.on('error', () => client.destroy());
    client.once('close', () => sockets.delete(client));
    const ports = [...readyPorts];
    turn += 1;
    const first = ports.length === 0 ? 0 : turn % ports.length;
    pass(client, [...ports.slice(first), ...ports.slice(0, first)]);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // It listens on TCP.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    backends,
    ready: () => [...backends].filter(([, port]) => readyPorts.has(port)).map(([name]) => name),
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};
