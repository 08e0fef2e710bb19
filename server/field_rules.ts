/**
 * Schemas whose only message is the rule that they hold a value to, in our own words: "expected …". What the library
 * would say speaks of its own notions and not of ours.
 */
import { z } from 'zod';

export function wholeNumber(min: number, max: number): z.ZodType<number> {
  const error = `expected a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** Also between whole numbers. */
export function numberBetween(min: number, max: number): z.ZodType<number> {
  const error = `expected a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
}

/** `min` and `max` are lengths in UTF-16 units. */
export function textOf(min: number, max: number): z.ZodType<string> {
  const error =
    min === 0 ? `expected text of at most ${max} characters` : `expected ${min} to ${max} characters`;
  return z.string({ error }).min(min, { error }).max(max, { error });
}

/** `why` follows the list. */
export function oneOf<const T extends string>(values: readonly [T, ...T[]], why = ''): z.ZodType<T> {
  const list = values.length === 1 ? values[0] : `one of ${values.join(', ')}`;
  return z.enum(values, { error: `expected ${list}${why}` });
}

export function truth(): z.ZodType<boolean> {
  return z.boolean({ error: 'expected true or false' });
}

export function exactly<const T extends string | number>(value: T): z.ZodLiteral<T> {
  return z.literal(value, { error: `expected ${value}` });
}

/** Unknown fields are dropped. */
export function objectOf<const T extends z.ZodRawShape>(fields: T): z.ZodObject<T> {
  return z.object(fields, { error: 'expected an object' });
}

/** `field: rule; …`, each once; the value as a whole is called `message`. */
export function describeFaults({ issues }: z.ZodError): string {
  const faults = issues.map(({ path, message }) => `${path.join('.') || 'message'}: ${message}`);
  return [...new Set(faults)].join('; ');
}
