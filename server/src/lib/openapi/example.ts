/** A JSON Schema as plain data. */
export type PlainSchema = Record<string, unknown>;

/**
 * An example of what a schema describes: its own first example, else one put together from its parts, so that every
 * request and answer of the documentation shows one.
 */
export const exampleOf = (schema: PlainSchema): unknown => {
  if (Array.isArray(schema['examples']) && schema['examples'].length > 0) return schema['examples'][0];
  for (const keyword of ['example', 'default', 'const']) if (keyword in schema) return schema[keyword];
  if (Array.isArray(schema['enum'])) return schema['enum'][0];
  for (const keyword of ['anyOf', 'oneOf', 'allOf']) {
    const [first] = listOf(schema[keyword]);
    if (first) return exampleOf(first);
  }
  return exampleOfType(schema);
};

const exampleOfType = (schema: PlainSchema): unknown => {
  switch ([schema['type']].flat()[0]) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema['properties'] ?? {}).map(([name, property]) => [
          name,
          exampleOf(plain(property)),
        ]),
      );
    case 'array':
      return 'items' in schema ? [exampleOf(plain(schema['items']))] : [];
    case 'string':
      return schema['format'] === 'date-time' ? '2026-11-22T08:00:00.000Z' : 'text';
    case 'integer':
    case 'number':
      return schema['minimum'] ?? 1;
    case 'boolean':
      return false;
    default:
      return null;
  }
};

/**
 * Spells a schema out for readers: the type of an enumeration, the format of an integer. What only our own messages
 * need is left out. Changes the schema it is given, which is the document's own copy.
 */
export const spellOut = (schema: unknown): void => {
  if (Array.isArray(schema)) return schema.forEach(spellOut);
  const keywords = plain(schema);
  delete keywords['x-expected'];
  delete keywords['x-secret'];
  if (keywords['type'] === undefined && isTextList(keywords['enum'])) keywords['type'] = 'string';
  if (keywords['type'] === 'integer') keywords['format'] ??= 'int32';
  for (const part of Object.values(keywords)) spellOut(part);
};

const isTextList = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');

/** A schema's members; `true`, `false` and whatever is no object have none. */
export const plain = (value: unknown): PlainSchema =>
  // Only read, never written, so any object will do.
  typeof value === 'object' && value !== null ? (value as PlainSchema) : {};

const listOf = (value: unknown): PlainSchema[] => (Array.isArray(value) ? value.map(plain) : []);
