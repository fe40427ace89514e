import { startBackend, type Backend } from '../../../../examples/backend/backend.ts';
import type { Clock } from '../../lib/clock.ts';
import { Secret } from '../../lib/secret.ts';
import { guarded, type EndedCall } from './guard.ts';
import { openHttp } from './http.ts';
import type { Connector } from './connector.ts';

export const backendSecret = 'a secret of tests that signs requests to the backend';

/** How long the backend of a test may take. */
export const callTimeoutMs = 300;

export type HttpBackend = AsyncDisposable & {
  backend: Backend;
  connector: Connector;
  calls: EndedCall[];
  circuit: boolean[];
};

/** The example backend, and the connector that calls it. It tells nobody how its operations ended, unless it is told whom. */
export const openHttpBackend = async (clock: Clock, florinUrl?: string): Promise<HttpBackend> => {
  const now = (): Date => clock.now();
  const backend = await startBackend({ secret: backendSecret, florinUrl, now });
  const [calls, circuit]: [EndedCall[], boolean[]] = [[], []];
  const connector = guarded(
    openHttp({ url: backend.url, secret: new Secret(backendSecret), timeoutMs: callTimeoutMs, clock }),
    {
      clock,
      onCall: (call) => void calls.push(call),
      onCircuit: (_, isOpen) => void circuit.push(isOpen),
    },
  );
  const close = async (): Promise<void> => {
    await connector.close?.();
    await backend.close();
  };
  return { backend, connector, calls, circuit, [Symbol.asyncDispose]: close };
};
