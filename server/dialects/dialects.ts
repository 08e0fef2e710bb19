/** The dialects there are. */
import type { DialectName } from '../../pipeline/session_settings.ts';
import { deepgramDialect } from './deepgram_dialect.ts';
import type { Dialect, DialectParts } from './dialect.ts';
import { nativeDialect } from './native_dialect.ts';
import { openaiDialect } from './openai_dialect.ts';
import { voskDialect } from './vosk_dialect.ts';

const CREATORS: Readonly<Record<DialectName, (parts: DialectParts) => Dialect>> = {
  native: nativeDialect,
  deepgram: deepgramDialect,
  openai: openaiDialect,
  vosk: voskDialect,
};

/** Those of these names. */
export function createDialects(names: readonly DialectName[], parts: DialectParts): readonly Dialect[] {
  return names.map((name) => CREATORS[name](parts));
}
