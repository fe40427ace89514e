import { isUtf8 } from 'node:buffer';
import { isFault, lineFault, type LineFault } from './line.ts';

/** One line of a text file, without its end. Numbered from 1. */
export type TextLine = { line: number; text: string };

/** No line of a statement is nearly so long; a file without line ends must not fill the memory. */
const lineBytesMax = 16 * 1024;

const [lineFeed, carriageReturn] = [0x0a, 0x0d];

/**
 * Splits a file into its lines, which end with LF or CRLF. A byte order mark is left out, empty lines too.
 * @param bytes in chunks, each of which is used only until the next is asked for
 * @param onChunk is told every chunk as it is read
 * @returns lines, and a fault in the place of each that can't be read
 */
export const linesOf = async function* (
  bytes: AsyncIterable<Buffer>,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<TextLine | LineFault> {
  let rest: Buffer = Buffer.alloc(0);
  let line = 0;
  for await (const chunk of bytes) {
    onChunk(chunk);
    const text: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = text.indexOf(lineFeed); end !== -1; end = text.indexOf(lineFeed, from)) {
      line += 1;
      const read = readLine(text.subarray(from, end), line);
      if (read) yield read;
      if (read && isFault(read) && read.isFinal) return;
      from = end + 1;
    }
    // A copy, so that a long chunk does not stay for the end of it.
    rest = Buffer.from(text.subarray(from));
    if (rest.length > lineBytesMax) {
      yield tooLong(line + 1);
      return;
    }
  }
  const read = readLine(rest, line + 1);
  if (read) yield read;
};

const readLine = (bytes: Buffer, line: number): TextLine | LineFault | undefined => {
  const whole = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
  if (whole.length > lineBytesMax) return tooLong(line);
  if (line === 1 && (startsWith(whole, [0xff, 0xfe]) || startsWith(whole, [0xfe, 0xff])))
    return lineFault(line, 'the file is in UTF-16; save it as UTF-8', { isFinal: true });
  if (!isUtf8(whole)) return lineFault(line, 'is not UTF-8; save the file as UTF-8');
  const content = line === 1 && startsWith(whole, [0xef, 0xbb, 0xbf]) ? whole.subarray(3) : whole;
  const text = content.toString('utf8');
  if (text.includes('\r'))
    return lineFault(line, 'has a carriage return inside; end lines with LF or CRLF', {
      isFinal: line === 1,
    });
  return text.trim() === '' ? undefined : { line, text };
};

const startsWith = (bytes: Buffer, mark: readonly number[]): boolean =>
  mark.every((byte, index) => bytes[index] === byte);

const tooLong = (line: number): LineFault =>
  lineFault(line, `is longer than ${lineBytesMax} bytes; is this a statement?`, {
    isFinal: true,
  });
