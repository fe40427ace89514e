import type { FieldFault } from '../errors.ts';
import { fieldOf, type Place } from './field.ts';
import { problemBounds } from './schemas.ts';

/** How deep arrays and objects of a body may nest. */
export const depthMax = 64;

// C0 and C1 controls but for tab and line feed: no name, reference or note needs them, and jsonb cannot hold U+0000.
// oxlint-disable-next-line no-control-regex -- finding control characters is what it is for
const controlCharacter = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/**
 * Finds the strings of a value, keys included, that must not be stored or logged: with control characters (tab and line
 * feed are allowed) or half of a surrogate pair. A value nested deeper than `depthMax` is a fault and not read further.
 */
export const textFaults = (value: unknown, place: Place = 'body'): FieldFault[] => {
  const faults: FieldFault[] = [];
  // The names on the way to what is being looked at.
  const path: string[] = [];
  const note = (names: readonly string[], message: string): void =>
    void faults.push({ field: fieldOf(names, place), message });

  const walk = (inner: unknown): void => {
    if (faults.length >= problemBounds.faults) return;
    if (typeof inner === 'string') {
      const message = faultOf(inner);
      if (message) note(path, message);
    } else if (typeof inner === 'object' && inner !== null) {
      if (path.length >= depthMax) note(path.slice(0, 1), `must not nest deeper than ${depthMax} levels`);
      // By index: the names of a million items would cost more than everything else here.
      else if (Array.isArray(inner)) inner.forEach((item, index) => enter(String(index), item));
      else for (const [name, member] of Object.entries(inner)) walkMember(name, member);
    }
  };
  const walkMember = (name: string, member: unknown): void => {
    const message = faultOf(name);
    if (message) note(path, `has a member whose name ${message}`);
    else enter(name, member);
  };
  const enter = (name: string, inner: unknown): void => {
    path.push(name);
    walk(inner);
    path.pop();
  };
  walk(value);
  return faults;
};

const faultOf = (text: string): string | undefined => {
  if (controlCharacter.test(text)) return 'must not contain control characters';
  if (!text.isWellFormed()) return 'must be valid Unicode';
  return undefined;
};
