/** Which languages a server may be asked for. */
import { CATALOGUE } from '../../models/catalogue.ts';
import { ProtocolError } from '../../pipeline/errors.ts';

/**
 * Passes for the language that a model hears, and for models whose language is not known. Only the primary subtag
 * (BCP 47) counts. Throws `ProtocolError` (`bad_settings`) for another one: text invented in the model's own is no answer.
 */
export function checkLanguage(wanted: string, model: string): void {
  const spoken = CATALOGUE.find(({ id }) => id === model)?.language;
  if (spoken === undefined || wanted.toLowerCase().split('-')[0] === spoken) return;
  throw new ProtocolError('bad_settings', `language: '${model}' hears '${spoken}', not '${wanted}'`);
}
