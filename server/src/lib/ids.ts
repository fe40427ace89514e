import { TypeID, typeidUnboxed } from 'typeid-js';

/** Every kind of object and the prefix of its public id (TypeID: prefix, `_`, base32 of a UUIDv7). */
export const idPrefixes = {
  account: 'acct',
  api_key: 'key',
  customer: 'cus',
  hold: 'hold',
  journal_entry: 'evt',
  operation: 'op',
  payment: 'pay',
  refund: 'ref',
  request: 'req',
  transfer: 'trf',
  vendor: 'ven',
} as const;

export type IdKind = keyof typeof idPrefixes;

/** A public id, e.g. `Id<'payment'>` is `pay_01h455vb4pex5vsknk084sn02q`. The database stores its UUID. */
export type Id<K extends IdKind> = `${(typeof idPrefixes)[K]}_${string}`;

/** A new id; ids made later sort later, to the millisecond. */
export const newId = <K extends IdKind>(kind: K): Id<K> =>
  // TypeID promises `prefix_suffix`, which its type does not say.
  typeidUnboxed(idPrefixes[kind]) as string as Id<K>;

/** The UUID that the database stores for an id. */
export const toUuid = (id: Id<IdKind>): string => TypeID.fromString(id).toUUID();

/** The public id of a stored UUID. */
export const fromUuid = <K extends IdKind>(kind: K, uuid: string): Id<K> =>
  TypeID.fromUUID(idPrefixes[kind], uuid).toString() as string as Id<K>;

/** What a well-formed public id of this kind looks like, for request schemas. */
export const idPattern = (kind: IdKind): string => `^${idPrefixes[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$`;

/** Whether a text from outside is an id of this kind. */
export const isId = <K extends IdKind>(kind: K, text: string): text is Id<K> =>
  new RegExp(idPattern(kind)).test(text);
