import { connect, type Socket } from 'node:net';

/** What became of a connection: the status lines that came back on it, and then it was closed. */
export type Outcome = { statuses: readonly string[]; text: string };

type Options = {
  /** Bytes to send one by one, one each time so many milliseconds passed. */
  drip?: { bytes: string; everyMs: number };
  /** Whether nothing that comes back is read until the connection ends. */
  isDeaf?: boolean;
};

/** Sends bytes as they are, and tells what came back once the server closed the connection. */
export const sendRaw = (
  port: number,
  bytes: string | Buffer,
  { drip, isDeaf }: Options = {},
): Promise<Outcome> => {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const chunks: Buffer[] = [];
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(bytes);
  if (isDeaf) socket.pause();
  else socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // Whoever does not read learns of the end only by writing.
  const written = drip ?? (isDeaf ? { bytes: 'GET', everyMs: 250 } : undefined);
  const dripping = written && drips(socket, written);
  // A server that refuses what is still being sent resets the connection; what it answered counts.
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    clearInterval(dripping);
    const text = Buffer.concat(chunks).toString('latin1');
    resolve({
      text,
      statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = '']) => status),
    });
  });
  return promise;
};

const drips = (socket: Socket, { bytes, everyMs }: { bytes: string; everyMs: number }): NodeJS.Timeout => {
  let sent = 0;
  return setInterval(() => {
    const byte = bytes[sent % bytes.length] ?? '';
    sent += 1;
    if (socket.writable) socket.write(byte);
  }, everyMs);
};
