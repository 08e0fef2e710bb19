/** `earwitness config`: the effective configuration, and where each value comes from. */
import type { LoadedConfig } from '../config.ts';
import { SETTING_KEYS } from '../settings.ts';
import { renderTable } from './text_table.ts';

/** How the configuration is printed. */
export interface ConfigFormat {
  /** One object: `{ "<key>": { "value": …, "origin": { "kind": …, "name": … } } }`. */
  readonly json: boolean;
}

/** The configuration as text that ends with a line break. */
export function renderConfig({ config, origins }: LoadedConfig, { json }: ConfigFormat): string {
  if (json) {
    const entries = SETTING_KEYS.map((key) => [key, { value: config[key], origin: origins[key] }]);
    return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
  }
  const rows = SETTING_KEYS.map((key) => [key, String(config[key]) || '(none)', origins[key].name]);
  return renderTable([['SETTING', 'VALUE', 'FROM'], ...rows]);
}
