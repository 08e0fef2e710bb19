/** What one simulated client does and when: drawn once, from its own dice. */
import type { StartMessage } from '../../client/protocol.ts';
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import type { ErrorCode } from '../../pipeline/errors.ts';
import { CONTROL_MESSAGE_MAX_BYTES, OPUS_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import type { Dice } from './dice.ts';
import { encodeHeavyPacket, encodePacket, FRAME_COUNTS } from './watermark.ts';

/** How a client behaves; most are `polite`. */
export const CLIENT_KINDS = [
  'polite',
  'mute',
  'flusher',
  'hasty',
  'vanisher',
  'halfOpen',
  'slowReader',
  'sleeper',
  'garbler',
  'noise',
  'oversizer',
  'rude',
  'flooder',
  'logFlooder',
  'flushFlooder',
] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/** What a client may be told before it is cut off, beside that the server is full or goes away. */
export const DESERVED_ERRORS: Readonly<Record<ClientKind, readonly ErrorCode[]>> = {
  polite: [],
  mute: [],
  flusher: [],
  hasty: ['too_fast'],
  vanisher: [],
  halfOpen: ['idle_timeout'],
  slowReader: ['slow_reader'],
  sleeper: ['idle_timeout'],
  garbler: [],
  noise: ['unsupported_audio'],
  oversizer: ['message_too_large'],
  rude: ['bad_message', 'bad_settings', 'not_started', 'handshake_timeout'],
  flooder: [],
  logFlooder: ['too_fast'],
  flushFlooder: ['too_fast'],
};

export type Action =
  | { readonly type: 'audio'; readonly bytes: Uint8Array }
  | { readonly type: 'text'; readonly text: string }
  /** Its connection breaks; the server learns of it, or (`halfOpen`) does not. */
  | { readonly type: 'vanish'; readonly halfOpen: boolean };

/** A stretch of speech, by positions in what the client sends. */
export interface Burst {
  readonly startSamples: number;
  readonly endSamples: number;
}

export interface ClientScript {
  readonly kind: ClientKind;
  readonly number: number;
  readonly start: StartMessage;
  /** Whether `start` comes with the query or as the first message. */
  readonly startsByQuery: boolean;
  /** In the order of `atMs`, which counts from the connection. */
  readonly actions: readonly { readonly atMs: number; readonly action: Action }[];
  readonly bursts: readonly Burst[];
}

/** Writes a script as it goes. */
class ScriptWriter {
  readonly actions: { atMs: number; action: Action }[] = [];
  readonly bursts: Burst[] = [];
  readonly #dice: Dice;
  readonly #number: number;
  #index = 0;
  #flushCount = 0;
  #positionSamples = 0;
  /** Wall time, from the connection on. */
  atMs = 0;

  constructor(dice: Dice, number: number) {
    this.#dice = dice;
    this.#number = number;
  }

  get audioMs(): number {
    return samplesToMs(this.#positionSamples);
  }

  /** Audio of about so long, each packet sent when it would have been recorded, or all at once. */
  audio(ms: number, options: { readonly isSpeech: boolean; readonly atOnce?: boolean }): void {
    const startSamples = this.#positionSamples;
    const endSamples = startSamples + msToSamples(ms);
    while (this.#positionSamples < endSamples) {
      const neededCount = Math.ceil((endSamples - this.#positionSamples) / msToSamples(20));
      const frameCount = Math.min(neededCount, this.#dice.pick(FRAME_COUNTS));
      const packet = { client: this.#number, index: this.#index++, isSpeech: options.isSpeech };
      this.#positionSamples += msToSamples(20) * frameCount;
      if (options.atOnce !== true) this.atMs += 20 * frameCount;
      this.act({ type: 'audio', bytes: encodePacket(packet, frameCount) });
    }
    if (options.isSpeech) this.bursts.push({ startSamples, endSamples: this.#positionSamples });
  }

  heavyPacket(): void {
    const packet = { client: this.#number, index: this.#index++, isSpeech: false };
    this.#positionSamples += msToSamples(2.5);
    this.act({ type: 'audio', bytes: encodeHeavyPacket(packet) });
  }

  garbage(): void {
    const bytes = new Uint8Array(this.#dice.whole(1, 300));
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#dice.whole(0, 255);
    if (bytes.length > 2) bytes[2] = 0;
    this.act({ type: 'audio', bytes });
  }

  flush(): void {
    this.#flushCount++;
    this.text({ type: 'flush', id: `f${this.#flushCount}` });
  }

  text(message: object): void {
    this.act({ type: 'text', text: JSON.stringify(message) });
  }

  act(action: Action): void {
    this.actions.push({ atMs: this.atMs, action });
  }
}

/** Draws the script of one client that has something to say for about `durationMs`. */
export function writeScript(options: {
  readonly dice: Dice;
  readonly number: number;
  readonly kind: ClientKind;
  readonly durationMs: number;
}): ClientScript {
  const { dice, number, kind, durationMs } = options;
  const start = drawStart(dice, kind);
  const startsByQuery = dice.chance(0.5);
  const writer = new ScriptWriter(dice, number);
  if (kind === 'rude') writeRudeness(writer, dice);
  else {
    if (!startsByQuery) writer.text(start);
    writeTalk(writer, { dice, kind, durationMs });
    writeEnd(writer, { dice, kind });
  }
  return {
    kind,
    number,
    start,
    startsByQuery: startsByQuery && kind !== 'rude',
    actions: writer.actions,
    bursts: writer.bursts,
  };
}

function drawStart(dice: Dice, kind: ClientKind): StartMessage {
  const silenceMs = kind === 'flooder' ? 100 : Math.round(dice.magnitude(100, 1_000));
  return {
    type: 'start',
    version: 1,
    audio: { encoding: 'opus' },
    partials: dice.chance(0.85),
    words: dice.chance(0.2),
    endpointing: { silenceMs, maxUtteranceMs: Math.round(dice.magnitude(2_000, 15_000)) },
    ...(dice.chance(0.15)
      ? {
          resume: {
            sessionId: 'earlier',
            fromAudioMs: dice.whole(1, 100_000),
            nextUtteranceId: dice.whole(1, 50),
          },
        }
      : {}),
  };
}

function writeTalk(
  writer: ScriptWriter,
  { dice, kind, durationMs }: { readonly dice: Dice; readonly kind: ClientKind; readonly durationMs: number },
): void {
  if (kind === 'flooder') writeFlood(writer);
  else if (kind === 'logFlooder') for (let i = 0; i < 4_000; i++) writer.heavyPacket();
  else if (kind === 'flushFlooder') writeFlushes(writer);
  else while (writer.atMs < durationMs && writer.audioMs < durationMs) writeBurst(writer, dice, kind);
}

/** Nearly as many utterances as may be owed, all at once. */
function writeFlood(writer: ScriptWriter): void {
  for (let i = 0; i < 60; i++) {
    writer.audio(120, { isSpeech: true, atOnce: true });
    writer.audio(140, { isSpeech: false, atOnce: true });
  }
}

/** Nothing but flushes. */
function writeFlushes(writer: ScriptWriter): void {
  for (let i = 0; i < 1_500; i++) {
    writer.flush();
    writer.atMs += 20;
  }
}

/** A silence, then speech, with what this kind of client puts between. */
function writeBurst(writer: ScriptWriter, dice: Dice, kind: ClientKind): void {
  const atOnce = kind === 'hasty';
  writer.audio(dice.magnitude(60, 1_500), { isSpeech: kind === 'noise' ? false : dice.chance(0.05), atOnce });
  if (kind === 'noise') for (let i = 0; i < 80; i++) writer.garbage();
  if (kind === 'garbler' && dice.chance(0.5)) for (let i = dice.whole(1, 2); i > 0; i--) writer.garbage();
  writer.audio(dice.magnitude(60, 5_000), { isSpeech: true, atOnce });
  if (dice.chance(kind === 'flusher' ? 0.7 : 0.05)) writer.flush();
  if (kind === 'mute' && dice.chance(0.5)) writeMute(writer, dice.magnitude(300, 12_000));
  else if (dice.chance(0.1)) writer.atMs += dice.magnitude(50, 1_500);
  if (dice.chance(0.03)) writer.act({ type: 'audio', bytes: new Uint8Array(0) });
  writer.audio(dice.magnitude(20, 1_500), { isSpeech: false, atOnce });
}

function writeMute(writer: ScriptWriter, ms: number): void {
  const endMs = writer.atMs + ms;
  while (writer.atMs < endMs) {
    writer.text({ type: 'keepAlive' });
    writer.atMs += Math.min(3_000, endMs - writer.atMs);
  }
}

function writeEnd(
  writer: ScriptWriter,
  { dice, kind }: { readonly dice: Dice; readonly kind: ClientKind },
): void {
  if (kind === 'vanisher' || kind === 'halfOpen') {
    writer.act({ type: 'vanish', halfOpen: kind === 'halfOpen' });
    return;
  }
  if (kind === 'oversizer') {
    if (dice.chance(0.5)) writer.act({ type: 'audio', bytes: new Uint8Array(OPUS_MESSAGE_MAX_BYTES + 1) });
    else writer.act({ type: 'text', text: 'x'.repeat(CONTROL_MESSAGE_MAX_BYTES + 1) });
    return;
  }
  if (kind === 'sleeper') writer.atMs += 15_000;
  writer.text({ type: 'stop' });
}

/** What no client that knows the protocol does. */
function writeRudeness(writer: ScriptWriter, dice: Dice): void {
  switch (dice.whole(0, 3)) {
    case 0:
      writer.audio(20, { isSpeech: true });
      return;
    case 1:
      writer.act({
        type: 'text',
        text: dice.pick(['{', '[]', 'null', '{"type":"start"}', '{"type":"__proto__"}']),
      });
      return;
    case 2:
      writer.text({ type: 'stop' });
      return;
    default:
      // Says nothing at all.
      return;
  }
}
