import { write as writeBytes, writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';

/** Bytes that may wait for a slow reader; what comes beyond is lost. */
const waitingBytesMax = 16 * 1024 * 1024;

/** How soon a reader that is full is tried again. */
const retryMs = 50;

/** How often at the end of the process. */
const lastAttemptsMax = 20;

/**
 * A file descriptor that log lines are written to behind the caller's back: what arrives while a write is under way is the
 * next write. Whatever is wrong with the reader (it sleeps, it left, its disk is full) costs lines, never the process.
 * (pino's own, `sonic-boom` 4, waits for ever at the end of the process when the disk is full.)
 */
export const openOutput = (fd: number): DestinationStream => {
  let lines: string[] = [];
  let waitingBytes = 0;
  let rest: Buffer | undefined;
  let isWriting = false;

  const next = (): Buffer | undefined => {
    if (rest === undefined && lines.length > 0) {
      rest = Buffer.from(lines.join(''));
      lines = [];
      waitingBytes = 0;
    }
    return rest;
  };

  /** What a write did not take comes first in the next one; after a failure it is lost, unless the reader is only full. */
  const settle = (error: NodeJS.ErrnoException | null, given: Buffer, written: number): void => {
    if (isFull(error)) return;
    rest = error || written === given.length ? undefined : given.subarray(written);
  };

  const pump = (): void => {
    const bytes = next();
    if (isWriting || bytes === undefined) return;
    isWriting = true;
    writeBytes(fd, bytes, 0, bytes.length, null, (error, written) => {
      isWriting = false;
      settle(error, bytes, written);
      if (isFull(error)) setTimeout(pump, retryMs).unref();
      else pump();
    });
  };

  process.on('exit', () => {
    // A write that is under way is finished by its thread.
    if (isWriting) rest = undefined;
    for (let attempts = 0; attempts < lastAttemptsMax; attempts += 1) {
      const bytes = next();
      if (bytes === undefined) return;
      try {
        settle(null, bytes, writeSync(fd, bytes));
      } catch (cause) {
        // Errors of the file system are of this type.
        const error = cause as NodeJS.ErrnoException;
        settle(error, bytes, 0);
        if (isFull(error)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
      }
    }
  });

  return {
    write: (line) => {
      if (waitingBytes + line.length > waitingBytesMax) return;
      lines.push(line);
      waitingBytes += line.length;
      if (!isWriting) pump();
    },
  };
};

const isFull = (error: NodeJS.ErrnoException | null): boolean =>
  error?.code === 'EAGAIN' || error?.code === 'EBUSY';
