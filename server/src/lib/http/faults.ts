import type { TSchema } from 'typebox';
import type { TValidationError } from 'typebox/error';
import type { FieldFault } from '../errors.ts';

/** Turns what a JSON Schema check found into one readable fault a field. */
export const faultsOf = (schema: TSchema, errors: readonly TValidationError[]): FieldFault[] => {
  const unions = errors.filter((error) => isUnion(error)).map((error) => `${error.schemaPath}/${error.keyword}/`);
  const faults = errors
    .filter((error) => !unions.some((union) => error.schemaPath.startsWith(union)))
    .flatMap((error) => faultsOfOne(at(schema, error.schemaPath), error));
  return oneEach(faults);
};

/** The first fault of every field: `must not be empty` says enough, what else is wrong with nothing does not matter. */
export const oneEach = (faults: readonly FieldFault[]): FieldFault[] => [
  ...new Map(faults.toReversed().map((fault) => [fault.field, fault])).values(),
].toReversed();

const isUnion = (error: TValidationError): boolean => error.keyword === 'anyOf' || error.keyword === 'oneOf';

/** A schema as plain data, to read the keyword that was broken. */
type Keywords = Record<string, unknown>;

const faultsOfOne = (schema: Keywords, error: TValidationError): FieldFault[] => {
  const field = fieldOf(error.instancePath);
  const within = (name: string): string => (field === 'body' ? shortened(name) : `${field}.${shortened(name)}`);
  switch (error.keyword) {
    case 'required':
    case 'dependentRequired':
      return namesOf(error).map((name) => ({ field: within(name), message: 'is required' }));
    case 'additionalProperties':
    case 'unevaluatedProperties':
      // Where further members are allowed in some form, what is wrong with them is reported on its own.
      if (schema[error.keyword] !== false) return [];
      return namesOf(error).map((name) => ({ field: within(name), message: 'is not a known field' }));
    case 'boolean':
    case 'propertyNames':
      return [];
    default:
      return [{ field, message: `${error.schemaPath.endsWith('/propertyNames') ? 'its name ' : ''}${messageOf(schema, error)}` }];
  }
};

/** The members that an error is about; which of its parameters lists them depends on the keyword. */
const namesOf = (error: TValidationError): string[] =>
  Object.values(error.params).flatMap((value: unknown) =>
    Array.isArray(value) ? value.filter((name) => typeof name === 'string') : [],
  );

const messageOf = (schema: Keywords, error: TValidationError): string => {
  const limit = String(schema[error.keyword]);
  const expected = schema['x-expected'];
  switch (error.keyword) {
    case 'type':
      return `must be ${typesOf(schema)}`;
    case 'minLength':
      return limit === '1' ? 'must not be empty' : `must be at least ${limit} characters long`;
    case 'maxLength':
      return `must be at most ${limit} characters long`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'exclusiveMinimum':
      return `must be greater than ${limit}`;
    case 'exclusiveMaximum':
      return `must be less than ${limit}`;
    case 'multipleOf':
      return `must be a multiple of ${limit}`;
    case 'minItems':
      return `must have at least ${limit} items`;
    case 'maxItems':
      return `must have at most ${limit} items`;
    case 'minProperties':
      return `must have at least ${limit} members`;
    case 'maxProperties':
      return `must have at most ${limit} members`;
    case 'uniqueItems':
      return 'must not have the same item twice';
    case 'enum':
    case 'const':
    case 'anyOf':
    case 'oneOf':
      return typeof expected === 'string' ? `must be ${expected}` : `must be ${alternativesOf(schema)}`;
    case 'format':
      return `must be ${typeof expected === 'string' ? expected : `a valid ${String(schema['format'])}`}`;
    case 'pattern':
      return typeof expected === 'string' ? `must be ${expected}` : `must match ${String(schema['pattern'])}`;
    default:
      return 'is not valid';
  }
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

const alternativesOf = (schema: Keywords): string => {
  const branches = [schema['anyOf'], schema['oneOf']].flatMap((list) => (Array.isArray(list) ? list : [])).map(keywords);
  const values = [
    ...('const' in schema ? [schema['const']] : []),
    ...(Array.isArray(schema['enum']) ? schema['enum'] : []),
    ...branches.flatMap((branch) => ('const' in branch ? [branch['const']] : [])),
  ];
  const types = branches.filter((branch) => !('const' in branch)).map(typesOf);
  const texts = [...values.map((value) => JSON.stringify(value)), ...new Set(types)];
  return texts.length > 1 && types.length === 0 ? `one of ${texts.join(', ')}` : texts.join(' or ');
};

const at = (schema: TSchema, pointer: string): Keywords =>
  steps(pointer.slice(1)).reduce<Keywords>((inner, step) => keywords(inner[step]), keywords(schema));

// A schema is an object of keywords; whatever else a pointer meets (`false`, a missing member) has none.
const keywords = (value: unknown): Keywords => (typeof value === 'object' && value !== null ? (value as Keywords) : {});

const steps = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

const fieldOf = (pointer: string): string =>
  pointer === '' ? 'body' : steps(pointer).map(shortened).join('.');

const shortened = (name: string): string => (name.length > 60 ? `${name.slice(0, 60)}…` : name);
