import { Value } from 'typebox/value';
import { canonicalHash, type Json } from '../lib/canonical.ts';
import { verifyConsistency, verifyInclusion } from './merkle.ts';
import { HeadJson, ProofJson, type KeyJson } from './schema.ts';
import {
  isSignedBy,
  readPublicKey,
  trustedFrom,
  type PublicKey,
  type PublishedKey,
  type SignedHead,
} from './signing.ts';
import { entryLeaf } from './tree.ts';

/** What a proof proves, and what is wrong with it, each in a sentence. */
export type Checked = { proven: string[]; faults: string[] };

type Known = {
  /** Keys that the auditor has from the operator by another way. Without any, those in the proof are taken. */
  keys?: readonly PublicKey[] | undefined;
  /** A head that the auditor kept. */
  head?: HeadJson | undefined;
};

/** Checks a proof from nothing but itself and what the auditor knows: no database, no network. */
export const checkProof = (proof: ProofJson, known: Known = {}): Checked => {
  const checked: Checked = { proven: [], faults: [] };
  const say = (isTrue: boolean, proven: string, fault: string): void =>
    void (isTrue ? checked.proven : checked.faults).push(isTrue ? proven : fault);

  const { entry, head: headJson, earlier } = proof;
  const head = headOf(headJson);
  // It was parsed from JSON.
  const hash = canonicalHash(entry as unknown as Json);
  const what = entry.object ? `${entry.kind} of ${entry.object.id}` : entry.kind;
  say(
    hash.toString('hex') === proof.hash,
    `The entry ${entry.id} (${what}, ${entry.timestamp}) has the hash ${proof.hash}.`,
    `The entry ${entry.id} was altered: its content has the hash ${hash.toString('hex')}, not ${proof.hash}.`,
  );

  const position = BigInt(proof.position);
  say(
    verifyInclusion({ leaf: entryLeaf(position, hash), position }, head, bytesOf(proof.steps)),
    `It is at position ${position} of a log of ${head.size} entries with the root ${headJson.root}.`,
    `It is not at position ${position} of the log of head ${head.number}: the steps do not lead to the root ${headJson.root}.`,
  );
  checkSignature(checked, proof, head, known.keys);

  if (earlier) {
    const first = headOf(earlier.head);
    say(
      verifyConsistency(first, head, bytesOf(earlier.steps)),
      `The log began like that of head ${first.number} (${first.size} entries, ${earlier.head.timestamp}): nothing of it was changed since.`,
      `The log did not begin like that of head ${first.number}, ${first.size} entries: it was rewritten in between.`,
    );
    checkSignature(checked, proof, first, known.keys);
  }
  if (known.head) checkKept(checked, proof, known.head);
  return checked;
};

/** Reads a proof. @throws Error that says what is wrong with its form */
export const parseProof = (text: string): ProofJson => parseAs(ProofJson, text, 'a proof of the journal');

/** Reads a head that was kept. @throws Error as above */
export const parseHead = (text: string): HeadJson => parseAs(HeadJson, text, 'a head of the journal');

const parseAs = <Schema extends typeof ProofJson | typeof HeadJson>(
  schema: Schema,
  text: string,
  what: string,
) => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`This is not ${what}: it is no JSON.`);
  }
  if (Value.Check(schema, value)) return value;
  const [fault] = Value.Errors(schema, value);
  throw new Error(`This is not ${what}: ${fault ? `${fault.instancePath} ${fault.message}` : 'it differs'}.`);
};

const checkSignature = (
  { proven, faults }: Checked,
  proof: ProofJson,
  head: SignedHead,
  trusted: readonly PublicKey[] | undefined,
): void => {
  const published = proof.keys.flatMap((key) => publishedKey(key) ?? []);
  const keys = trusted ? trustedFrom(trusted, published) : published;
  const signer = keys.find((key) => isSignedBy(head, key));
  const name = `Head ${head.number} (${head.size} entries, ${head.timestamp.toISOString()})`;
  if (!signer) {
    const whose = trusted ? 'by the key that you gave or one that it vouches for' : 'by a key in this file';
    faults.push(`${name} is not signed ${whose}: it was altered, or it is another’s.`);
  } else if (!trusted) {
    proven.push(
      `${name} is signed by the key ${signer.id}, which this file brings itself: compare it with the operator’s, or give it with --key.`,
    );
  } else {
    const isGiven = trusted.some(({ id }) => id === signer.id);
    proven.push(
      `${name} is signed by the key ${signer.id}, ${isGiven ? 'which you gave' : 'for which the key that you gave vouches'}.`,
    );
  }
};

/** Two heads of one size with different roots are two histories: proof enough, whoever signed them. */
const checkKept = ({ proven, faults }: Checked, { head, earlier }: ProofJson, kept: HeadJson): void => {
  const same = [head, earlier?.head].find((one) => one?.size === kept.size);
  if (!same) {
    faults.push(
      `The proof says nothing of the head that you kept, ${kept.size} entries: ask for one with --since ${kept.size}.`,
    );
  } else if (same.root !== kept.root) {
    faults.push(
      `The head that you kept has the root ${kept.root} over ${kept.size} entries, this one ${same.root}: the log was rewritten.`,
    );
  } else {
    proven.push(`The head that you kept, ${kept.size} entries, is a head of this log.`);
  }
};

const headOf = ({ number, size, root, timestamp, signatures }: HeadJson): SignedHead => ({
  number: BigInt(number),
  size: BigInt(size),
  root: Buffer.from(root, 'hex'),
  timestamp: new Date(timestamp),
  signatures,
});

const bytesOf = (steps: readonly string[]): Buffer[] => steps.map((step) => Buffer.from(step, 'hex'));

/** A key in a file may be given any id; what counts is what the key itself makes. */
const publishedKey = (json: KeyJson): PublishedKey | undefined => {
  const read = readPublicKey(json.public_key);
  if (read?.id !== json.id) return undefined;
  const endorsed =
    json.endorsed_by !== null && json.endorsement !== null
      ? { by: json.endorsed_by, signature: Buffer.from(json.endorsement, 'base64') }
      : undefined;
  return { ...read, createdAt: new Date(json.created_at), endorsed };
};
