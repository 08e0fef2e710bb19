/**
 * A client of the simulation that is the reference library itself: its connections are cut again and again, and what it
 * tells its owner is as if there had been one.
 */
import type { FinalMessage, StartMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import { OPUS_PACKET_MAX_MS } from '../../pipeline/limits.ts';
import { roundMs } from './client_record.ts';
import type { Burst, ClientScript } from './client_script.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClientOptions } from './sim_server.ts';
import { SimSocket } from './sim_socket.ts';
import { decodePacket, textSpan } from './watermark.ts';

/** Frames that were not yet enough for an utterance where a connection was cut or the detector began anew. */
const UNHEARD_MAX_SAMPLES = 5 * 512;
const CUTS_MAX_COUNT = 4;
/** Where the last final ends inside a message, that message is sent again. */
const REPEATED_MAX_MS = OPUS_PACKET_MAX_MS;

export class LibraryClient {
  readonly finals: FinalMessage[] = [];
  readonly #options: SimClientOptions;
  readonly #client: StreamClient;
  readonly #accuse: Accuse;
  /** Where each packet begins, in ms. */
  readonly #positionsMs: readonly number[];
  readonly #failedIds = new Set<number>();
  #socket: SimSocket | undefined;
  #hasLost = false;

  constructor(options: SimClientOptions) {
    const { script, clock, dice, accuse } = options;
    this.#options = options;
    this.#accuse = (rule, detail) => {
      accuse(rule, `library client ${script.number}: ${detail}`);
    };
    this.#positionsMs = positionsOf(script);
    const { endpointing, partials } = script.start;
    this.#client = new StreamClient({
      url: 'ws://simulated/v1/stream',
      audio: { encoding: 'opus' },
      ...(endpointing === undefined ? {} : { endpointing }),
      ...(partials === undefined ? {} : { partials }),
      random: () => dice.unit(),
      clock: {
        nowMs: () => clock.nowMs(),
        after: (delayMs, fire) => {
          let isCancelled = false;
          clock.outside(delayMs, () => {
            if (!isCancelled) fire();
          });
          return () => {
            isCancelled = true;
          };
        },
      },
      createSocket: () => this.#openSocket(),
    });
    this.#client.on('final', (final) => {
      this.#hear(final);
    });
    this.#client.on('notice', ({ code, utteranceId }) => {
      if (code === 'utterance_failed') this.#failedIds.add(utteranceId ?? 0);
    });
    this.#client.on('audioLost', () => (this.#hasLost = true));
  }

  get isSettled(): boolean {
    return this.#client.state.type === 'closed';
  }

  /** True when it has everything it wanted. */
  get isDone(): boolean {
    const { state } = this.#client;
    return state.type === 'closed' && state.reason === 'done';
  }

  /** True when the server holds nothing of it. */
  get isDisconnected(): boolean {
    return this.#socket?.hasEnded ?? true;
  }

  /** Speaks as the script says, and is cut off as chance has it. */
  connect(): void {
    const { script, clock, dice } = this.#options;
    if (this.isSettled) return;
    this.#client.start().catch(() => undefined);
    let endMs = 0;
    for (const { atMs, action } of script.actions) {
      if (action.type !== 'audio' || action.bytes.length === 0) continue;
      endMs = atMs;
      clock.outside(atMs, () => {
        this.#client.send(action.bytes.slice());
      });
    }
    clock.outside(endMs + 1, () => {
      this.#client.stop().catch(() => undefined);
    });
    for (let i = dice.whole(1, CUTS_MAX_COUNT); i > 0; i--) {
      clock.outside(dice.between(0, endMs), () => {
        this.#socket?.cut(dice.chance(0.3));
      });
    }
  }

  /** The server has gone for good. */
  cutOff(): void {
    this.#client.close();
    this.#socket?.cut(false);
  }

  /** Rules I1 and I9, when nothing has gone wrong for a while: it is done, and nothing it said is missing. */
  checkDone(): void {
    const { state } = this.#client;
    if (!this.isDone) this.#accuse('I9', `it is ${JSON.stringify(state)}`);
    else if (this.#hasLost) this.#accuse('I1', 'it had to forget audio');
    else this.#judgeCoverage(this.#options.script.bursts);
  }

  #openSocket(): SimSocket {
    const { clock, dice, trace, dialect, refusal, onBehalf, script } = this.#options;
    trace.note(`library client ${script.number} connects`);
    return (this.#socket = new SimSocket({
      ...{ clock, dice, dialect, refusal, onBehalf },
      onStart: (start, firstPacket) => {
        this.#checkResume(start, firstPacket);
      },
    }));
  }

  /** The server counts from where the first packet begins. */
  #checkResume({ resume }: StartMessage, packet: Uint8Array): void {
    const index = decodePacket(packet)?.index ?? NaN;
    const wanted = this.#positionsMs[index];
    const told = resume?.fromAudioMs ?? 0;
    if (told !== wanted) this.#accuse('I3', `packet ${index} is sent as the audio from ${told} ms on`);
  }

  #hear(final: FinalMessage): void {
    const { utteranceId, startAudioMs, endAudioMs, text } = final;
    this.#options.trace.note(`library client ${this.#options.script.number} hears ${utteranceId} ${text}`);
    const last = this.finals.at(-1);
    if (utteranceId !== (last?.utteranceId ?? 0) + 1)
      this.#accuse('I2', `final ${utteranceId} is out of turn`);
    if (startAudioMs < (last?.endAudioMs ?? 0) - REPEATED_MAX_MS)
      this.#accuse('I1', `final ${utteranceId} repeats audio`);
    this.finals.push(final);
    const span = textSpan(text);
    if (span === undefined || this.#failedIds.has(utteranceId)) return;
    if (span.client !== this.#options.script.number)
      this.#accuse('I3', `final ${utteranceId} says "${text}"`);
    // Positions in the text count from the beginning of a connection.
    const wantedMs = roundMs(span.endSamples) - roundMs(span.startSamples);
    if (Math.abs(endAudioMs - startAudioMs - wantedMs) > 1)
      this.#accuse('I3', `final ${utteranceId} of ${startAudioMs}–${endAudioMs} ms says "${text}"`);
  }

  #judgeCoverage(bursts: readonly Burst[]): void {
    for (const burst of bursts) {
      let missing = burst.endSamples - burst.startSamples;
      for (const { startAudioMs, endAudioMs } of this.finals) {
        const from = Math.max(burst.startSamples, msToSamples(startAudioMs));
        missing -= Math.max(0, Math.min(burst.endSamples, msToSamples(endAudioMs)) - from);
      }
      if (missing > UNHEARD_MAX_SAMPLES)
        this.#accuse('I1', `${missing} samples of the speech from ${burst.startSamples} on are in no final`);
    }
  }
}

function positionsOf({ actions }: ClientScript): readonly number[] {
  const positionsMs: number[] = [];
  let samples = 0;
  for (const { action } of actions) {
    const packet = action.type === 'audio' ? decodePacket(action.bytes) : undefined;
    if (packet === undefined) continue;
    positionsMs.push(samplesToMs(samples));
    samples += packet.durationSamples;
  }
  return positionsMs;
}
