import type { TSchema } from 'typebox';
import type { TValidationError } from 'typebox/error';
import type { FieldFault } from '../errors.ts';
import { fieldOf, type Place } from './field.ts';

/**
 * Turns what a JSON Schema check found into one readable fault a field.
 * @param place the part of the request that was checked, named where it is wrong as a whole
 */
export const faultsOf = (
  schema: TSchema,
  errors: readonly TValidationError[],
  place: Place = 'body',
): FieldFault[] =>
  oneEach(
    errors
      .filter(isUnion)
      .reduce(withoutStrangers, errors)
      .flatMap((error) => faultsOfOne(at(schema, error.schemaPath), error, place)),
  );

/** The first fault of every field: `must not be empty` says enough, what else is wrong with nothing does not matter. */
const oneEach = (faults: readonly FieldFault[]): FieldFault[] =>
  [...new Map(faults.toReversed().map((fault) => [fault.field, fault])).values()].toReversed();

const isUnion = (error: TValidationError): boolean => error.keyword === 'anyOf' || error.keyword === 'oneOf';

/**
 * Of what is wrong by a union, keeps what its caller can have meant: if a value is what one branch is about, such as an
 * object where an object or null is expected, what is wrong with it there; else that it is nothing of the union.
 */
const withoutStrangers = (
  errors: readonly TValidationError[],
  union: TValidationError,
): readonly TValidationError[] => {
  const start = `${union.schemaPath}/${union.keyword}/`;
  const branchOf = ({ schemaPath }: TValidationError): string | undefined =>
    schemaPath.startsWith(start) ? schemaPath.slice(start.length).split('/', 1)[0] : undefined;
  const branches = new Set(errors.map(branchOf).filter((branch) => branch !== undefined));
  for (const error of errors) {
    const branch = branchOf(error);
    if (branch !== undefined && error.schemaPath === start + branch && kindKeywords.has(error.keyword))
      branches.delete(branch);
  }
  const [meant, ...others] = branches;
  if (meant === undefined || others.length > 0)
    return errors.filter((error) => branchOf(error) === undefined);
  return errors.filter((error) => error !== union && (branchOf(error) ?? meant) === meant);
};

/** A value that these refuse is of another kind than a branch is about. */
const kindKeywords: ReadonlySet<string> = new Set(['type', 'const', 'enum']);

/** A schema as plain data, to read the keyword that was broken. */
type Keywords = Record<string, unknown>;

const faultsOfOne = (schema: Keywords, error: TValidationError, place: Place): FieldFault[] => {
  const path = steps(error.instancePath);
  const field = fieldOf(path, place);
  // As text: the keywords are many, and what is not named here has one message each.
  const keyword: string = error.keyword;
  const each = (message: string): FieldFault[] =>
    namesOf(error).map((name) => ({ field: fieldOf([...path, name], place), message }));
  switch (keyword) {
    case 'required':
    case 'dependentRequired':
      return each('is required');
    case 'boolean':
      // The schema `false`, which stands for members that are not known.
      return [{ field, message: 'is not a known field' }];
    case 'additionalProperties':
    case 'propertyNames':
      // What is wrong with the members is reported on its own.
      return [];
    default: {
      const subject = error.schemaPath.endsWith('/propertyNames') ? 'its name ' : '';
      return [{ field, message: subject + messageOf(schema, error) }];
    }
  }
};

/** The members that an error is about; which of its parameters lists them depends on the keyword. */
const namesOf = (error: TValidationError): string[] =>
  Object.values(error.params).flatMap((value: unknown) =>
    Array.isArray(value) ? value.filter((name) => typeof name === 'string') : [],
  );

const messageOf = (schema: Keywords, { keyword }: { keyword: string }): string => {
  const limit = String(schema[keyword]);
  if (keyword === 'minLength' && limit === '1') return 'must not be empty';
  const bound = bounds[keyword];
  if (bound !== undefined) return bound.replace('%', limit);
  if (keyword === 'type') return `must be ${typesOf(schema)}`;
  const expected = schema['x-expected'];
  if (typeof expected === 'string') return `must be ${expected}`;
  if (keyword === 'format') return `must be a valid ${String(schema['format'])}`;
  if (keyword === 'pattern') return `must match ${String(schema['pattern'])}`;
  return alternativesOf(schema) ?? 'is not valid';
};

/** What the keywords say whose value is a number. */
const bounds: Record<string, string | undefined> = {
  minLength: 'must be at least % characters long',
  maxLength: 'must be at most % characters long',
  minimum: 'must be at least %',
  maximum: 'must be at most %',
  exclusiveMinimum: 'must be greater than %',
  exclusiveMaximum: 'must be less than %',
  multipleOf: 'must be a multiple of %',
  minItems: 'must have at least % items',
  maxItems: 'must have at most % items',
  minProperties: 'must have at least % members',
  maxProperties: 'must have at most % members',
  uniqueItems: 'must not have the same item twice',
};

const typeNames: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
  null: 'null',
};

const typesOf = (schema: Keywords): string =>
  [schema['type']]
    .flat()
    .map((type) => typeNames[String(type)] ?? 'of another type')
    .join(' or ');

/** The values and types that an enumeration or a union allows. */
const alternativesOf = (schema: Keywords): string | undefined => {
  const branches = [schema['anyOf'], schema['oneOf']]
    .flatMap((list) => (Array.isArray(list) ? list : []))
    .map(keywords);
  const values = [
    ...('const' in schema ? [schema['const']] : []),
    ...(Array.isArray(schema['enum']) ? schema['enum'] : []),
    ...branches.flatMap((branch) => ('const' in branch ? [branch['const']] : [])),
  ];
  const types = branches.filter((branch) => !('const' in branch)).map(typesOf);
  const texts = [...values.map((value) => JSON.stringify(value)), ...new Set(types)];
  if (texts.length === 0) return undefined;
  return texts.length > 1 && types.length === 0
    ? `must be one of ${texts.join(', ')}`
    : `must be ${texts.join(' or ')}`;
};

const at = (schema: TSchema, pointer: string): Keywords =>
  steps(pointer.slice(1)).reduce<Keywords>((inner, step) => keywords(inner[step]), keywords(schema));

// A schema is an object of keywords; whatever else a pointer meets (`false`, a missing member) has none.
const keywords = (value: unknown): Keywords =>
  typeof value === 'object' && value !== null ? (value as Keywords) : {};

/** The names on a JSON pointer (RFC 6901). */
const steps = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
