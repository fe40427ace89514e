import { expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { memoryLog, testSettings } from '../lib/http/testing.ts';
import { createMetrics } from '../lib/metrics.ts';
import { startInternalListener } from './listener.ts';

test('the internal listener serves health and metrics plainly, also where TLS is on, and nothing else', async () => {
  const { log } = memoryLog();
  const { port, stop } = await startInternalListener({
    config: testSettings({
      tls: { enabled: true, certFile: '/nowhere', keyFile: '/nowhere', minVersion: '1.3' },
    }),
    log,
    clock: systemClock,
    metrics: createMetrics({ process: false }),
    probes: { database: async () => 1, cache: async () => 'connected', internal: async () => 1 },
    host: '127.0.0.1',
    port: 0,
  });
  const statusOf = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}${path}`)).status;
  for (const path of ['/health/live', '/health/ready', '/metrics']) expect(await statusOf(path)).toBe(200);
  for (const path of ['/', '/api/health', '/api/v1/payments', '/internal/metrics'])
    expect(await statusOf(path)).toBe(404);
  await stop();
});
