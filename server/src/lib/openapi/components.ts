import { errorKinds, type ErrorCode } from '../errors.ts';
import { dryRunHeader, previewBody } from '../http/dry-run.ts';
import { problemBody, vendorHeader, writeHeaders } from '../http/schemas.ts';
import { problemExample, type Operation } from './errors.ts';
import { plain } from './example.ts';

const { $id: _problem, ...problem } = plain(problemBody);
const { $id: _preview, ...preview } = plain(previewBody);

const header = (
  description: string,
  example: string | number,
  schema: object = { type: 'string', maxLength: 200 },
) => ({
  description,
  schema,
  example,
});

const parameter = (name: string, described: object) => {
  const { description, examples, 'x-expected': _expected, ...schema } = plain(described);
  const [example] = Array.isArray(examples) ? examples : ['test-vendor'];
  return { name, in: 'header' as const, required: false, description: String(description), schema, example };
};

/** What operations refer to: the shape and an example of every error, header fields and ways to authenticate. */
export const components = {
  schemas: { Problem: problem, Preview: preview },
  examples: Object.fromEntries(
    // The table has these codes and no others.
    (Object.keys(errorKinds) as ErrorCode[]).map((code) => [
      code,
      { summary: errorKinds[code].title, value: problemExample(code) },
    ]),
  ),
  parameters: {
    IdempotencyKey: parameter('Idempotency-Key', writeHeaders.properties['Idempotency-Key']),
    DryRun: parameter('Dry-Run', dryRunHeader['Dry-Run']),
    FlorinVendor: parameter('Florin-Vendor', vendorHeader['Florin-Vendor']),
  },
  headers: {
    'X-Request-Id': header(
      'Names the request in our logs. Yours, if you sent one.',
      'req_01h455vb4pex5vsknk084sn02q',
    ),
    traceparent: header(
      'The W3C trace context of this request.',
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    ),
    'Access-Control-Allow-Origin': header('For pages of an allowed origin.', 'https://shop.example'),
    RateLimit: header(
      'How many requests are left and in how many seconds the count starts anew.',
      '"default";r=99;t=60',
    ),
    'RateLimit-Policy': header(
      'How many requests are allowed in a window of seconds.',
      '"default";q=100;w=60',
    ),
    'Retry-After': header('After how many seconds a retry makes sense.', 3, {
      type: 'integer',
      format: 'int32',
      minimum: 0,
      maximum: 86_400,
    }),
    'Dry-Run': header('`true` when nothing was changed, because the request asked for it.', 'true'),
    'Idempotent-Replayed': header(
      '`true` when this is the stored answer to an earlier request with the same key.',
      'true',
    ),
  },
  securitySchemes: {
    clientId: {
      type: 'apiKey' as const,
      in: 'header' as const,
      name: 'X-Client-ID',
      description: 'The client id of a vendor, together with its secret.',
    },
    clientSecret: {
      type: 'apiKey' as const,
      in: 'header' as const,
      name: 'X-Client-Secret',
      description: 'The client secret of a vendor.',
    },
    apiKey: {
      type: 'apiKey' as const,
      in: 'header' as const,
      name: 'X-API-Key',
      description: 'An API key of a vendor or of the platform.',
    },
    bearer: {
      type: 'http' as const,
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description:
        'An access token (RFC 9068), checked as RFC8725 demands, as `POST /api/v1/authenticate` gives it.',
    },
  },
};

/** The ways to authenticate for an operation: none for public ones, no client credentials for the platform's. */
export const securityOf = ({ requires, platformOnly }: Operation): Record<string, string[]>[] => {
  if (requires === 'public') return [];
  return [...(platformOnly ? [] : [{ clientId: [], clientSecret: [] }]), { apiKey: [] }, { bearer: [] }];
};
