import type { FieldFault } from '../errors.ts';

/** How deep arrays and objects of a body may nest. */
export const depthMax = 64;

// C0 and C1 controls but for tab and line feed: no name, reference or note needs them, and jsonb cannot hold U+0000.
// oxlint-disable-next-line no-control-regex -- finding control characters is what it is for
const controlCharacter = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/**
 * Finds the strings of a value, keys included, that must not be stored or logged: with control characters (tab and line
 * feed are allowed) or half of a surrogate pair. A value nested deeper than `depthMax` is a fault and not read further.
 */
export const textFaults = (value: unknown): FieldFault[] => {
  const faults: FieldFault[] = [];
  walk(value, '', 0, faults);
  return faults;
};

const faultsMax = 100;

const walk = (value: unknown, path: string, depth: number, faults: FieldFault[]): void => {
  if (typeof value === 'string') {
    const message = faultOf(value);
    if (message) faults.push({ field: path || 'body', message });
    return;
  }
  if (typeof value !== 'object' || value === null || faults.length >= faultsMax) return;
  if (depth >= depthMax) {
    faults.push({
      field: path.split('.', 1)[0] || 'body',
      message: `must not nest deeper than ${depthMax} levels`,
    });
    return;
  }
  if (Array.isArray(value)) {
    value.forEach((item, index) => walk(item, joined(path, String(index)), depth + 1, faults));
    return;
  }
  for (const [name, member] of Object.entries(value)) {
    const message = faultOf(name);
    if (message) faults.push({ field: path || 'body', message: `has a member whose name ${message}` });
    else walk(member, joined(path, name), depth + 1, faults);
  }
};

const faultOf = (text: string): string | undefined => {
  if (controlCharacter.test(text)) return 'must not contain control characters';
  if (!text.isWellFormed()) return 'must be valid Unicode';
  return undefined;
};

const joined = (path: string, name: string): string => (path === '' ? name : `${path}.${name.slice(0, 60)}`);
