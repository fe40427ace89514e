import type { Secret } from '../secret.ts';
import type { Kind } from './kinds.ts';

/** The nested, camelCase object type of a table of settings: `server.tls.cert_file` is `server.tls.certFile`. */
export type Shape<Table> = Expand<
  Together<{ [Path in keyof Table & string]: Leaf<Path, Table[Path]> }[keyof Table & string]>
>;

type Leaf<Path extends string, Row> = Path extends `${infer Head}.${infer Rest}`
  ? { [K in CamelCase<Head>]: Leaf<Rest, Row> }
  : Row extends { kind: Kind<infer T>; traits: { present: infer Present } }
    ? Present extends true
      ? { [K in CamelCase<Path>]: T }
      : { [K in CamelCase<Path>]?: T }
    : never;

type CamelCase<Text extends string> = Text extends `${infer Head}_${infer Rest}`
  ? `${Head}${Capitalize<CamelCase<Rest>>}`
  : Text;

/** The intersection of the members of a union. */
type Together<Union> = (Union extends unknown ? (member: Union) => void : never) extends (
  all: infer All,
) => void
  ? All
  : never;

type Expand<T> = T extends Secret | readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]: Expand<T[K]> }
    : T;

/** Puts values by path into the nested object; those that are `undefined` are left out. */
export const nest = (values: ReadonlyMap<string, unknown>): Record<string, unknown> => {
  const root: Record<string, unknown> = {};
  for (const [path, value] of values) {
    const names = path.split('.').map(camelCase);
    const last = names.pop() ?? path;
    let parent = root;
    for (const name of names) parent = branch(parent, name);
    if (value !== undefined) parent[last] = value;
  }
  return root;
};

const branch = (parent: Record<string, unknown>, name: string): Record<string, unknown> => {
  parent[name] ??= {};
  // Only `nest` fills the tree, and what it puts above a leaf is always such an object.
  return parent[name] as Record<string, unknown>;
};

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
