import type { FastifySchemaCompiler } from 'fastify';
import { Type, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { Value } from 'typebox/value';
import { AppError, notFound, type FieldFault } from '../errors.ts';
import { faultsOf } from './faults.ts';
import { problemBounds } from './schemas.ts';
import { textFaults } from './text.ts';

// TypeBox stops at the first eight errors unless told otherwise; a caller wants all faults, and some have three errors.
Settings.Set({ maxErrors: problemBounds.faults * 3 });

/**
 * Checks requests against TypeBox schemas. Bodies are taken as they are; query and path parameters, which are text on
 * the wire, become the integers and booleans that their schema asks for, strictly (`5.7` is no integer), and get defaults.
 * Every fault is reported at once, but for texts that cannot be stored, which come alone. A path parameter that cannot be right answers 404, like an object that does not exist.
 */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  if (httpPart === 'headers') return headerValidator(schema);
  const check = Compile(schema);
  return (given: unknown) => {
    const value = httpPart === 'body' ? given : Value.Default(schema, converted(schema, given));
    // Bodies were looked at when they were parsed.
    const strange = httpPart === 'body' ? [] : textFaults(value, 'query');
    if (strange.length === 0 && check.Check(value)) return { value };
    if (httpPart === 'params') return { error: notFound(nounOf(schema)) };
    if (strange.length > 0) return { error: invalid(strange) };
    const place = httpPart === 'body' ? 'body' : 'query';
    return { error: invalid(faultsOf(schema, check.Errors(value), place)) };
  };
};

/** Refuses a request for these faults, each named in `errors`, the first ones in the text. */
export const invalid = (faults: readonly FieldFault[]): AppError => {
  const named = faults.slice(0, 3).map((fault) => `${fault.field}: ${fault.message}`);
  const more = faults.length - named.length;
  const text = `${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
  return new AppError('invalid_request', text, { faults: faults.slice(0, problemBounds.faults) });
};

/** Only the headers that the schema names are looked at, without case; the request keeps its headers as they are. */
const headerValidator = (schema: TSchema) => {
  const names = Type.IsObject(schema) ? Object.keys(schema.properties) : [];
  const check = Compile(schema);
  return (given: Record<string, unknown>) => {
    const sent = names.filter((name) => given[name.toLowerCase()] !== undefined);
    const value = Object.fromEntries(sent.map((name) => [name, given[name.toLowerCase()]]));
    return check.Check(value) ? true : { error: invalid(faultsOf(schema, check.Errors(value), 'headers')) };
  };
};

const converted = (schema: TSchema, given: unknown): unknown => {
  if (!Type.IsObject(schema) || typeof given !== 'object' || given === null) return given;
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, convertedText(schema.properties[name], value)]),
  );
};

const convertedText = (schema: TSchema | undefined, value: unknown): unknown => {
  if (schema === undefined || typeof value !== 'string') return value;
  if (Type.IsInteger(schema)) return /^-?[0-9]{1,15}$/.test(value) ? Number(value) : value;
  if (Type.IsNumber(schema)) return /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/.test(value) ? Number(value) : value;
  if (Type.IsBoolean(schema)) return value === 'true' ? true : value === 'false' ? false : value;
  if (Type.IsArray(schema)) return value.split(',');
  return value;
};

const nounOf = (schema: TSchema): string => {
  const noun: unknown = Reflect.get(schema, 'x-noun');
  return typeof noun === 'string' ? noun : 'object';
};
