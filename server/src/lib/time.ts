import { invalidField } from './errors.ts';

/** The times that a caller may name: what is stored and answered stays a four-digit year in every time zone. */
const earliest = Date.parse('1970-01-01T00:00:00Z');
const latest = Date.parse('2200-01-01T00:00:00Z');

/**
 * Reads a time that a schema has found to look like one (ISO 8601).
 * @throws AppError `invalid_request` naming `field` for one that no clock shows, such as a leap second, or out of range
 */
export const parseTime = (text: string, field: string): Date => {
  const time = Date.parse(text);
  if (time >= earliest && time < latest) return new Date(time);
  throw invalidField(field, 'must be a time from 1970 to 2199 without leap seconds');
};
