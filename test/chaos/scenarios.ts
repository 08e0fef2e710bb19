/** Every row of the table, in its order. */
import { GATEWAY_DEATHS } from './gateway_deaths.ts';
import { HOSTILE_CLIENTS } from './hostile_clients.ts';
import { HOSTILE_FRAMES } from './hostile_frames.ts';
import { HOSTILE_STRANGERS } from './hostile_strangers.ts';
import { HUNG_JOBS } from './hung_jobs.ts';
import { OVERLOADS } from './overload.ts';
import type { Scenario } from './scenario.ts';
import { SERVER_FAULTS } from './server_faults.ts';
import { soakOf } from './soak.ts';
import { WORKER_DEATHS } from './worker_deaths.ts';

/** The soak only if it is said for how many minutes. */
export function scenariosOf(soakMinutes: number | undefined): readonly Scenario[] {
  return [
    ...[...WORKER_DEATHS, HUNG_JOBS],
    ...GATEWAY_DEATHS,
    ...OVERLOADS,
    ...[...HOSTILE_CLIENTS, ...HOSTILE_FRAMES, ...HOSTILE_STRANGERS],
    ...SERVER_FAULTS,
    ...(soakMinutes === undefined ? [] : [soakOf(soakMinutes)]),
  ];
}
