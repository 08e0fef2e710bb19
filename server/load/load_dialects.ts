/** The protocols that a load test speaks. */
import { DEEPGRAM_LOAD_DIALECT } from './deepgram_load_dialect.ts';
import { NATIVE_LOAD_DIALECT } from './native_load_dialect.ts';

export const LOAD_DIALECTS = { native: NATIVE_LOAD_DIALECT, deepgram: DEEPGRAM_LOAD_DIALECT } as const;
export type LoadDialectName = keyof typeof LOAD_DIALECTS;
