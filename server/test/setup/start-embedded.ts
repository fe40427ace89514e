import { startEmbedded } from '../../src/lib/postgres/embedded.ts';

// A process of its own that starts the embedded database in the folder it is given, says so, and then waits for its end.
const [directory = ''] = process.argv.slice(2);
const embedded = await startEmbedded({ directory, log: () => undefined });
process.on('SIGTERM', () => void embedded.stop().then(() => process.exit(0)));
process.stdout.write(`port ${String(embedded.port)}\n`);
setInterval(() => undefined, 60_000);
