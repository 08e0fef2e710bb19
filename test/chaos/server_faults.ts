/** Faults of the server's own parts and of what it stands on. */
import { AUDIO_VERDICTS } from './audio_verdicts.ts';
import { CODEC_FAULTS } from './codec_faults.ts';
import { CRASH_FAULTS } from './crash_faults.ts';
import { DRAIN } from './drain.ts';
import { GATEWAY_STRAIN } from './gateway_strain.ts';
import { POISONED_CROWD } from './poisoned_crowd.ts';
import type { Scenario } from './scenario.ts';
import { THROWN_FAULTS } from './thrown_faults.ts';

export const SERVER_FAULTS: readonly Scenario[] = [
  ...[POISONED_CROWD, THROWN_FAULTS, DRAIN, AUDIO_VERDICTS],
  ...[...CODEC_FAULTS, ...CRASH_FAULTS, ...GATEWAY_STRAIN],
];
