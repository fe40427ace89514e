/** One message of the PostgreSQL protocol, version 3: its type, empty for the first of a connection, and all its bytes. */
export type Message = { type: string; bytes: Buffer };

/** Cuts a stream of one direction into its messages. Without TLS, as the tests connect. */
export const splitter = (from: 'client' | 'server', onMessage: (message: Message) => void) => {
  let rest: Buffer = Buffer.alloc(0);
  let isFirst = from === 'client';
  return (chunk: Buffer): void => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const typeLength = isFirst ? 0 : 1;
      if (rest.length < typeLength + 4) return;
      const length = typeLength + rest.readInt32BE(typeLength);
      if (rest.length < length) return;
      const bytes = rest.subarray(0, length);
      rest = rest.subarray(length);
      isFirst = false;
      onMessage({ type: typeLength === 0 ? '' : String.fromCharCode(bytes.readUInt8(0)), bytes });
    }
  };
};

/** The text of a Query. */
export const queryOf = ({ bytes }: Message): string => textsOf(bytes.subarray(5))[0] ?? '';

/** The text of the statement that a Parse prepares, after its name. */
export const parsedOf = ({ bytes }: Message): string => textsOf(bytes.subarray(5), 2)[1] ?? '';

/** The prepared statement that a Bind is about, after the portal. */
export const boundOf = ({ bytes }: Message): string => textsOf(bytes.subarray(5), 2)[1] ?? '';

/** The SQLSTATE of an ErrorResponse. */
export const stateOf = ({ bytes }: Message): string => {
  const fields = textsOf(bytes.subarray(5));
  return fields.find((field) => field.startsWith('C'))?.slice(1) ?? '';
};

/** Texts that end with a zero byte, one after the other. */
const textsOf = (bytes: Buffer, max = Infinity): string[] => {
  const texts: string[] = [];
  for (let from = 0; from < bytes.length && texts.length < max;) {
    const end = bytes.indexOf(0, from);
    if (end < 0) break;
    texts.push(bytes.toString('utf8', from, end));
    from = end + 1;
  }
  return texts;
};
