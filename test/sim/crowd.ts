/** Who comes into a simulated world. */
import { CLIENT_KINDS, writeScript, type ClientKind, type ClientScript } from './client_script.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';

/** Audio of one client where there are many. */
const CROWD_TALK_MS = 2_000;
/** Together they ask for more finals than may wait. */
const FLOODER_COUNT = 20;
const FLOOD_PROBABILITY = 0.35;

/** In some worlds there is somebody with the client library; what it says is what polite people say. */
const LIBRARY_PROBABILITY = 0.2;
const LIBRARY_MAX_COUNT = 2;

/** The scripts of those with the client library; their numbers follow those of `others`. */
export function writeLibraryScripts(
  dice: Dice,
  { others, talkMs }: { readonly others: number; readonly talkMs: number },
): readonly ClientScript[] {
  const count = dice.chance(LIBRARY_PROBABILITY) ? dice.whole(1, LIBRARY_MAX_COUNT) : 0;
  return Array.from({ length: count }, (_, index) =>
    writeScript({ dice, number: others + index + 1, kind: 'polite', durationMs: talkMs }),
  );
}

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
