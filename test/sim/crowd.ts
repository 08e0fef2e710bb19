/** Who comes into a simulated world. */
import { CLIENT_KINDS, writeScript, type ClientKind, type ClientScript } from './client_script.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';

/** Audio of one client where there are many. */
const CROWD_TALK_MS = 2_000;
/** Together they ask for more finals than may wait. */
const FLOODER_COUNT = 20;
const FLOOD_PROBABILITY = 0.35;

/** The scripts of all clients: a few, or, where the faults say so, more than the workers can serve. */
export function writeCrowd(options: {
  readonly dice: Dice;
  readonly plan: Dice;
  readonly faults: Faults;
  readonly talkMs: number;
}): readonly ClientScript[] {
  const { plan, faults } = options;
  const isCrowd = faults.fires('crowd');
  const isFlood = isCrowd && plan.chance(FLOOD_PROBABILITY);
  const count = isFlood ? FLOODER_COUNT : isCrowd ? plan.whole(20, 50) : Math.round(plan.magnitude(1, 8));
  const durationMs = isCrowd ? CROWD_TALK_MS : options.talkMs;
  return Array.from({ length: count }, (_, index) => {
    const number = index + 1;
    const dice = options.dice.stream(`client ${number}`);
    const kind: ClientKind = isFlood ? 'flooder' : dice.chance(0.5) ? 'polite' : dice.pick(CLIENT_KINDS);
    return writeScript({ dice, number, kind, durationMs });
  });
}
