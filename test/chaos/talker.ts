/** Somebody who says the same over and over through the reference client, and what of it came back. */
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { FinalMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { joinedText } from '../support/raw_client.ts';
import { normalisedWords, wordEditCount } from '../../server/load/word_error_rate.ts';
import { PACKET_MS, type Script } from './crowd.ts';
import { described, type Comparison, type ExpectedUtterance } from './undisturbed.ts';

/** Nobody talks for longer. */
const TALK_MAX_MS = 60 * 60_000;
/**
 * What may be missing at each end of an utterance, a pre-roll: after a resume the detector's frames lie elsewhere, and what
 * begins softly is found a few of them sooner or later.
 */
const EDGE_MAX_MS = 320;
/** Words that the model may hear in another way for that. */
const MISHEARD_MAX_COUNT = 2;
/** Who falls silent for so long in the middle of a word has an utterance ended there ([OUT1]): a machine that is too busy. */
const INTERRUPTION_MS = 500;

export interface TalkerOptions {
  readonly url: string;
  readonly script: Script;
  readonly partials: boolean;
}

export class Talker {
  readonly client: StreamClient;
  readonly finals: FinalMessage[] = [];
  /** Set to end the talk. */
  isOver = false;
  /** What the client should not have had to say. */
  complaint: string | undefined;
  readonly script: Script;
  readonly #interruptedAtMs: number[] = [];
  #sentCount = 0;

  constructor({ url, script, partials }: TalkerOptions) {
    this.script = script;
    // The ring that every client has: what it keeps must be enough.
    this.client = new StreamClient({
      url: `${url.replace('http', 'ws')}/v1/stream`,
      audio: { encoding: 'opus' },
      partials,
      createSocket: (address, protocols) => new WebSocket(address, protocols, { perMessageDeflate: false }),
    });
    this.client.on('final', (final) => this.finals.push(final));
    this.client.on('audioLost', ({ fromAudioMs, toAudioMs }) => {
      this.complaint = `audio from ${fromAudioMs} to ${toAudioMs} ms was lost`;
    });
    this.client.on('notice', ({ code }) => {
      if (code === 'utterance_failed') this.complaint = 'an utterance failed';
    });
  }

  /** Audio that was said, in ms. */
  get saidMs(): number {
    return this.#sentCount * PACKET_MS;
  }

  get loopMs(): number {
    return this.script.packets.length * PACKET_MS;
  }

  /** Whether the machine kept this talker from talking in time between these positions. */
  wasInterrupted(startMs: number, endMs: number): boolean {
    return this.#interruptedAtMs.some((atMs) => atMs >= startMs && atMs <= endMs);
  }

  /** Talks in real time; resolves with the last final. */
  async talk(): Promise<void> {
    const started = this.client.start();
    const { packets } = this.script;
    const startedAtMs = performance.now();
    while (!this.isOver && this.saidMs < TALK_MAX_MS) {
      const dueAtMs = startedAtMs + this.saidMs + PACKET_MS;
      await pause(Math.max(0, dueAtMs - performance.now()));
      if (performance.now() - dueAtMs > INTERRUPTION_MS) this.#interruptedAtMs.push(this.saidMs);
      const packet = packets[this.#sentCount % packets.length] ?? new Uint8Array(0);
      if (this.client.send(packet.slice()) !== 'accepted') this.complaint = 'audio was not taken';
      this.#sentCount++;
    }
    await started;
    await this.client.stop();
  }
}

export interface LoopComparison extends Comparison {
  readonly words: number;
  readonly misheardWords: number;
}

/** Compares what came back with what an undisturbed run hears in one round of each script. */
export function compareLoops(
  talkers: readonly Talker[],
  expected: readonly (readonly ExpectedUtterance[])[],
): LoopComparison {
  const examples: string[] = [];
  let [utterances, lost, repeated, wrong, words, misheardWords] = [0, 0, 0, 0, 0, 0];
  for (const [person, talker] of talkers.entries()) {
    const { finals, saidMs, loopMs } = talker;
    // Where a final ends inside a packet, a resume sends that packet again.
    repeated += finals.filter(
      (final, i) => final.startAudioMs < (finals[i - 1]?.endAudioMs ?? 0) - PACKET_MS,
    ).length;
    for (let offsetMs = 0; offsetMs < saidMs; offsetMs += loopMs) {
      for (const utterance of expected[person] ?? []) {
        const startMs = offsetMs + utterance.startAudioMs + EDGE_MAX_MS;
        const endMs = offsetMs + utterance.endAudioMs - EDGE_MAX_MS;
        // The talk ended in the middle of it.
        if (endMs + 2 * EDGE_MAX_MS > saidMs) continue;
        utterances++;
        const own = finals.filter((one) => one.startAudioMs < endMs && one.endAudioMs > startMs);
        if (!isCovered({ startMs, endMs }, own) || joinedText(own) === '') lost++;
        if (talker.wasInterrupted(startMs - EDGE_MAX_MS, endMs + EDGE_MAX_MS)) continue;
        const heard = normalisedWords(joinedText(own));
        // As the undisturbed run heard it, or as it was said: the model may do better too.
        const texts = [utterance.text, spokenText(talker.script, utterance)].map(normalisedWords);
        const edits = Math.min(...texts.map((said) => wordEditCount(said, heard)));
        words += texts[0]?.length ?? 0;
        misheardWords += edits;
        if (edits <= MISHEARD_MAX_COUNT) continue;
        wrong++;
        examples.push(`${own.map(described).join(', ')} was heard for ${described(utterance)}`);
      }
    }
  }
  return { utterances, lost, repeated, wrong, words, misheardWords, examples };
}

function spokenText({ sentences }: Script, { startAudioMs, endAudioMs }: ExpectedUtterance): string {
  return sentences
    .filter((sentence) => sentence.startAudioMs < endAudioMs && sentence.endAudioMs > startAudioMs)
    .map(({ text }) => text)
    .join(' ');
}

/** True if no moment of the span is in no final. The finals are in the order of the audio. */
function isCovered(
  { startMs, endMs }: { readonly startMs: number; readonly endMs: number },
  finals: readonly FinalMessage[],
): boolean {
  let coveredMs = startMs;
  for (const { startAudioMs, endAudioMs } of finals) {
    if (startAudioMs > coveredMs) return false;
    coveredMs = Math.max(coveredMs, endAudioMs);
  }
  return coveredMs >= endMs;
}
