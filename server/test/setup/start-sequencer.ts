import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { sequencerJob } from '../../src/journal/sequencer.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startJobs } from '../../src/lib/jobs.ts';
import { createMetrics } from '../../src/lib/metrics.ts';
import { Secret } from '../../src/lib/secret.ts';

// A process of its own that runs the sequencer on the database and with the key that its standard input names, until it is killed.
const { connection, pem } = JSON.parse(await text(process.stdin)) as {
  connection: { host: string; port: number; database: string; user: string; password: string };
  pem: string;
};
const job = sequencerJob({
  connection: { ...connection, password: new Secret(connection.password) },
  secrets: {
    name: 'test',
    writable: false,
    read: async () => ({ value: new Secret(pem) }),
    write: async () => '1',
  },
  clock: systemClock,
  log: pino({ messageKey: 'message' }),
  metrics: createMetrics({ process: false }),
});
startJobs([job], { log: pino({ enabled: false }), graceMs: 1_000 });
