import { plain } from '../../src/lib/openapi/example.ts';
import { makeDocument } from '../../src/services/document.ts';
import type { RouteRow } from '../../src/services/routes.ts';
import { made, type Tenant } from './api.ts';

/** The ids of a tenant's objects, by the path segment that stands before them. */
export type Ids = Tenant['ids'];

/** Bodies other than the example of the document: those that name objects, or have to be taken in live mode too. */
const bodies: Readonly<Record<string, (own: Ids) => Record<string, unknown>>> = {
  'POST /payments': ({ customers }) => ({
    amount: '9.00',
    currency: 'USD',
    payment_method: 'bank',
    customer_id: customers,
  }),
};

/** What all of them begin with. */
export const prefix = '/api/v1';
const { paths } = plain(await makeDocument('test'));

/** What the document says about a route. */
export const operationOf = ({ method, url }: RouteRow): Record<string, unknown> =>
  plain(plain(plain(paths)[prefix + url.replaceAll(/:(\w+)/g, '{$1}')])[method.toLowerCase()]);

const jsonOf = (part: unknown): Record<string, unknown> =>
  plain(plain(plain(part)['content'])['application/json']);
const requestOf = (row: RouteRow) => jsonOf(operationOf(row)['requestBody']);
/** Whether it is a list that goes on page by page. */
export const isList = (row: RouteRow): boolean => {
  const { schema } = jsonOf(plain(operationOf(row)['responses'])['200']);
  return row.method === 'GET' && 'next_cursor' in plain(plain(schema)['properties']);
};

/** A path with its parameters filled in: `ids` holds one for the segment before each. */
export const fill = ({ method, url }: RouteRow, ids: Ids): string => {
  const path = url.replaceAll(/([^/]+)\/:\w+/g, (_, collection: string) => {
    if (ids[collection] !== undefined) return `${collection}/${ids[collection]}`;
    throw new Error(
      `${method} ${url}: nobody knows an object for the parameter after "${collection}". ` +
        `Make one in \`seedObjects\` of server/test/setup/api.ts and give its id as "${collection}".`,
    );
  });
  if (!/[:*]/.test(path)) return path;
  throw new Error(
    `${method} ${url}: only \`collection/:parameter\` is addressed. Teach \`fill\` of server/test/setup/routes.ts this path.`,
  );
};

/** A body that the route takes. */
export const bodyOf = (row: RouteRow, own: Ids): { json?: unknown; csv?: string } => {
  const name = `${row.method} ${row.url}`;
  if (name === 'POST /reconciliations') {
    const charge = `${own['payments']},charge,90.00,USD,succeeded,2026-11-22`;
    return { csv: `reference,kind,amount,currency,status,date\n${charge}` };
  }
  const made = bodies[name]?.(own);
  if (made) return { json: made };
  if (['GET', 'HEAD', 'DELETE'].includes(row.method)) return {};
  if ('responses' in operationOf(row)) {
    const { example } = requestOf(row);
    return example === undefined ? {} : { json: example };
  }
  throw new Error(
    `${name} is not in the OpenAPI document: give it an operationId, or a body in \`bodies\` of server/test/setup/routes.ts.`,
  );
};

/** The members of a body that name an object, with the prefix of its id: `customer_id`, `cus`. */
export const referencesIn = (row: RouteRow): { member: string; idPrefix: string }[] =>
  Object.entries(plain(plain(requestOf(row)['schema'])['properties'])).flatMap(([member, schema]) => {
    const [, idPrefix] = /^\^([a-z]+)_\[0-7\]/.exec(String(plain(schema)['pattern'])) ?? [];
    return idPrefix === undefined ? [] : [{ member, idPrefix }];
  });

/** The objects of a tenant; one of its own for a route after which it is gone. */
export const idsFor = async (url: string, row: RouteRow, { ids, credentials }: Tenant): Promise<Ids> => {
  if (`${row.method} ${row.url}` !== 'DELETE /webhook-endpoints/:id') return ids;
  const body = { url: 'https://shop.example/', events: ['*'] };
  const { id } = await made(url, credentials['API key'].admin, '/webhook-endpoints', body);
  return { ...ids, 'webhook-endpoints': String(id) };
};
