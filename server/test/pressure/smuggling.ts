/**
 * Requests that two servers in a row might read differently. Each carries a second request inside, which neither may
 * ever answer or pass on: one that asks for customers, with a valid credential.
 */
const credential = 'x-api-key: test-key\r\n';
const hidden = `GET /api/v1/customers?limit=1 HTTP/1.1\r\nhost: a\r\n${credential}\r\n`;
const line = 'POST /api/v1/payments HTTP/1.1\r\n';
const fields = `host: a\r\n${credential}content-type: application/json\r\n`;
const head = line + fields;
/** The end of a chunked body, behind which the hidden request stands. */
const ended = `0\r\n\r\n${hidden}`;
const whole = `content-length: ${ended.length}\r\n`;
const chunked = 'transfer-encoding: chunked\r\n';

/** Two ways to tell where a body ends, or one that is spelt oddly. */
const lengths: Record<string, string> = {
  'length and chunks': `${head}${whole}${chunked}\r\n${ended}`,
  'chunks and length': `${head}${chunked}${whole}\r\n${ended}`,
  'length 0 and chunks': `${head}content-length: 0\r\n${chunked}\r\n${ended}`,
  'two equal lengths': `${head}${whole}${whole}\r\n${ended}`,
  'two lengths': `${head}content-length: 5\r\n${whole}\r\n${ended}`,
  ...Object.fromEntries(
    [
      '5, 5',
      '5, 99',
      '+5',
      '-5',
      '5 5',
      '0x5',
      '5_0',
      '5.0',
      '5e0',
      '٥',
      '',
      '18446744073709551621',
      '5;a',
    ].map((length) => [`length "${length}"`, `${head}content-length: ${length}\r\n\r\n${ended}`]),
  ),
  'a space before the colon of the length': `${head}content-length : 5\r\n\r\n${ended}`,
  'a folded length': `${head}content-length:\r\n 5\r\n\r\n${ended}`,
  'a length in a folded field': `${head}x: y\r\n content-length: 5\r\n\r\n${ended}`,
  'a length that Connection names': `${head}connection: content-length\r\n${whole}\r\n${ended}`,
};

/** With a length that covers everything: whoever overlooks the chunks reads one request, whoever sees them two. */
const codings: Record<string, string> = Object.fromEntries(
  [
    'transfer-encoding: xchunked',
    'transfer-encoding: chunkedx',
    'transfer-encoding: "chunked"',
    'transfer-encoding: chunked, identity',
    'transfer-encoding: identity, chunked',
    'transfer-encoding: gzip, chunked',
    'transfer-encoding: chunked, chunked',
    'transfer-encoding: ,chunked',
    'transfer-encoding: chunked;q=1',
    'transfer-encoding: chun\u0000ked',
    'transfer-encoding: \u000bchunked',
    'transfer-encoding: chunked\u00a0',
    'transfer-encoding : chunked',
    'transfer-encoding\t: chunked',
    'transfer-encoding\u0000: chunked',
    ' transfer-encoding: chunked',
    'transfer-encoding\r\n : chunked',
    'transfer-encoding:\r\n chunked',
    'x: y\ntransfer-encoding: chunked',
    'x: y\rtransfer-encoding: chunked',
    'x: y\r\n\ttransfer-encoding: chunked',
    'transfer-encoding: chunked\r\ntransfer-encoding: identity',
    'transfer-encoding: identity\r\ntransfer-encoding: chunked',
    'TRANSFER-ENCODING: CHUNKED',
    'transfer-encoding:chunked',
    'connection: transfer-encoding\r\ntransfer-encoding: chunked',
  ].map((field) => [JSON.stringify(field), `${head}${whole}${field}\r\n\r\n${ended}`]),
);

const chunks: Record<string, string> = Object.fromEntries(
  Object.entries({
    'no size': `\r\n${ended}`,
    'a size that is no number': `g\r\n${ended}`,
    'a negative size': `-5\r\n${ended}`,
    'a signed size': `+5\r\n[1,2]\r\n${ended}`,
    'a size of another base': `0x5\r\n[1,2]\r\n${ended}`,
    'a space before the size': ` 5\r\n[1,2]\r\n${ended}`,
    'a size that overflows': `10000000000000005\r\n[1,2]\r\n${ended}`,
    'a size that ends in a bare line feed': `5\n[1,2]\r\n${ended}`,
    'a size that ends in a bare carriage return': `5\r[1,2]\r\n${ended}`,
    'an extension with a line feed': `5;a=\n[1,2]\r\n${ended}`,
    'an extension with a carriage return': `5;a=\rb\r\n[1,2]\r\n${ended}`,
    'extensions of 20,000 bytes': `5;${'a'.repeat(20_000)}\r\n[1,2]\r\n${ended}`,
    'a chunk longer than its size': `5\r\n[1,2]x\r\n${ended}`,
    'a chunk shorter than its size': `ff\r\n[1,2]\r\n${ended.slice(0, 20)}`,
    'a chunk without its end': `5\r\n[1,2]${ended}`,
    'a chunk that ends in a bare line feed': `5\r\n[1,2]\n${ended}`,
    'a last chunk with a bare line feed': `5\r\n[1,2]\r\n0\n\n${hidden}`,
    'a trailer with a space before its colon': `5\r\n[1,2]\r\n0\r\nx : y\r\n\r\n${hidden}`,
    'a trailer with a length': `5\r\n[1,2]\r\n0\r\ncontent-length : 5\r\n\r\n${hidden}`,
  }).map(([name, body]) => [name, `${head}${chunked}\r\n${body}`]),
);

const lines: Record<string, string> = {
  'bare line feeds': `${head}${whole}\r\n${ended}`.replaceAll('\r\n', '\n'),
  'a bare line feed after the request line': `${line.trimEnd()}\n${fields}${whole}\r\n${ended}`,
  'a bare line feed before the body': `${head}content-length: 5\r\n\n${ended}`,
  'a bare carriage return in a field': `${head}x: a\rb\r\n${whole}\r\n${ended}`,
  'a folded field': `${head}x: a\r\n b\r\n${whole}\r\n${ended}`,
  'a folded field at the start': `${line} x: a\r\n${fields}${whole}\r\n${ended}`,
  'a field without a colon': `${head}x\r\n${whole}\r\n${ended}`,
  'a field without a name': `${head}: y\r\n${whole}\r\n${ended}`,
  'a null byte in a field': `${head}x: a\u0000b\r\n${whole}\r\n${ended}`,
  'two hosts': `${line}host: b\r\n${fields}${whole}\r\n${ended}`,
  'no host': `${line}${fields.replace('host: a\r\n', '')}${whole}\r\n${ended}`,
  ...Object.fromEntries(
    [
      'post /api/v1/payments HTTP/1.1',
      'POST  /api/v1/payments HTTP/1.1',
      'POST\t/api/v1/payments\tHTTP/1.1',
      ' POST /api/v1/payments HTTP/1.1',
      'POST /api/v1/payments HTTP/1.1 x',
      'POST /api/v1/payments',
      'POST /api/v1/payments HTTP/1.1\rx: y',
      'POST /api/v1/payments HTTP/9.9',
      'POST /api/v1/payments HTTP/2.0',
      'POST /api/v1/payments HTTPS/1.1',
      'POST /api/v1/pay ments HTTP/1.1',
      'POST /api/v1/pay\u0000ments HTTP/1.1',
      'CONNECT a:443 HTTP/1.1',
      'PRI * HTTP/2.0',
      'BREW /api/v1/payments HTTP/1.1',
    ].map((request) => [JSON.stringify(request), `${request}\r\n${fields}${whole}\r\n${ended}`]),
  ),
};

/** Valid requests, whose bodies hold the hidden one: they are bodies to whoever reads them. */
const bodies: Record<string, string> = {
  ...Object.fromEntries(
    ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'PUT', 'TRACE'].flatMap((method) => [
      [
        `${method} with a body`,
        `${head}content-length: ${hidden.length}\r\n\r\n${hidden}`.replace('POST', method),
      ],
      [
        `${method} with a body in chunks`,
        `${head}${chunked}\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`.replace(
          'POST',
          method,
        ),
      ],
    ]),
  ),
  'a body that is announced': `${head}expect: 100-continue\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
  'a body of another type': `${line}host: a\r\n${credential}content-type: text/plain\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
  'a body that is too large': `${head}content-length: 2000000\r\n\r\n${hidden.repeat(20_000).slice(0, 2_000_000)}`,
  'a body of nobody': `${head.replace(credential, '')}content-length: ${hidden.length}\r\n\r\n${hidden}`,
  'a body for a path that is not there': `${head}content-length: ${hidden.length}\r\n\r\n${hidden}`.replace(
    '/payments',
    '/nothing',
  ),
  'a body for another host': `${head}content-length: ${hidden.length}\r\n\r\n${hidden}`.replace(
    '/api/v1',
    'http://evil.example/api/v1',
  ),
  'a body for a path with two slashes': `${head}content-length: ${hidden.length}\r\n\r\n${hidden}`.replace(
    '/api/v1',
    '//evil.example/api/v1',
  ),
  'an upgrade with a body': `${head}connection: upgrade\r\nupgrade: h2c\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
  'HTTP/1.0 with a body': `${head}content-length: ${hidden.length}\r\n\r\n${hidden}`.replace('1.1', '1.0'),
  'HTTP/1.0 with chunks': `${head}${chunked}\r\n${ended}`.replace('1.1', '1.0'),
};

/** By name; the bytes of one connection. */
export const smuggled: Readonly<Record<string, string>> = {
  ...lengths,
  ...codings,
  ...chunks,
  ...lines,
  ...bodies,
};

/** Where the hidden request would arrive. */
export const hiddenRoute = '/api/v1/customers';
