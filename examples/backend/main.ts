import { startBackend } from './backend.ts';

/** `BACKEND_SECRET=… node examples/backend/main.ts`: see README.md. */
const { BACKEND_SECRET: secret, FLORIN_URL: florinUrl, PORT: port = '4000' } = process.env;
if (!secret) {
  process.stderr.write('Set BACKEND_SECRET to what Florin has as PAYMENTS_BACKEND_SECRET.\n');
  process.exit(2);
}
const backend = await startBackend({ secret, florinUrl, port: Number(port) });
process.stdout.write(`The example backend listens on ${backend.url}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void backend.close());
