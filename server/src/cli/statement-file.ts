import { open, stat } from 'node:fs/promises';
import type { Statement } from '../reconciliation/compare.ts';

const pieceBytes = 64 * 1024;

/**
 * The statement in a file, read piece by piece.
 * @param onRead is told how much was read, in percent
 * @throws Error when there is no such file
 */
export const statementIn = async (file: string, onRead: (percent: number) => void): Promise<Statement> => {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile())
    throw new Error(`"${file}" is no file: name the statement, or rec_… for an earlier one`);
  return {
    bytes: piecesOf(file, (bytes) => onRead(Math.floor((100 * bytes) / found.size))),
    format: /\.(jsonl|ndjson)$/i.test(file) ? 'jsonl' : 'csv',
  };
};

/** Every piece is valid until the next is asked for: all share one buffer, so that a long file leaves no garbage. */
const piecesOf = async function* (file: string, onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  await using handle = await open(file);
  const buffer = Buffer.allocUnsafe(pieceBytes);
  for (let total = 0; ;) {
    const { bytesRead } = await handle.read(buffer, 0, pieceBytes);
    if (bytesRead === 0) return;
    total += bytesRead;
    onRead(total);
    yield buffer.subarray(0, bytesRead);
  }
};
