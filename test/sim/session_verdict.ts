/** What a client was told, held against what it sent: the rest of rules I1, I2 and I3, when its session is over. */
import type { FinalMessage } from '../../client/protocol.ts';
import type { Hypothesis, TrackEvent } from '../../pipeline/contracts.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import { RECOGNISER_PCM_MIN_MS } from '../../pipeline/limits.ts';
import { judgeText } from '../../pipeline/text_guard.ts';
import { type ClientRecord, roundMs } from './client_record.ts';
import { type Burst, type ClientKind, DESERVED_ERRORS } from './client_script.ts';
import { eventLine, referenceEvents } from './reference_track.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClient } from './sim_client.ts';
import { spanText, textSpan } from './watermark.ts';

/** As the simulated recogniser gives them: always a text, of few tokens. */
const HYPOTHESIS: Hypothesis = {
  text: 'something',
  tokens: [0, 0],
  stop: 'end',
  encodeMs: 0,
  decodeMs: 0,
  reusedMs: 0,
  decoderSteps: 0,
  draftAcceptedTokens: 0,
};

type SpeechEnd = Extract<TrackEvent, { type: 'speechEnd' }>;

/** What of a burst may be missing where it was cut in two: frames that were not yet enough for an utterance. */
const UNHEARD_MAX_SAMPLES = 5 * 512;
/** Clients whose every packet is heard, in its place. */
const ORDERLY_KINDS: readonly ClientKind[] = ['polite', 'mute', 'flusher', 'flooder'];
/** What may be owed when a session ends because too much is. */
const OWED_MIN_COUNT = 30;

/** Judges one client whose world has come to its end. */
export function judgeSession(client: SimClient, accuseAny: Accuse): void {
  const { record, track } = client;
  const accuse: Accuse = (rule, detail) => {
    accuseAny(rule, `client ${client.number} (${client.script.kind}): ${detail}`);
  };
  if (client.wasRefused) return;
  if (!client.hasVanished) judgeEnding(client, accuse);
  if (track === undefined) return;
  const reference = referenceEvents(track.settings, track.inputs, accuse);
  judgeEvents(track.events, reference, accuse);
  judgeSequence(record, reference, accuse);
  if (record.ending?.code === 1000 && ORDERLY_KINDS.includes(client.script.kind)) {
    judgeCoverage(client.script.bursts, record, accuse);
  }
}

function judgeEnding({ record, script }: SimClient, accuse: Accuse): void {
  const { ending, errorCode } = record;
  if (ending === undefined) {
    accuse('I9', 'the connection was never closed');
    return;
  }
  const code = ending.reason === 'slow_reader' ? 'slow_reader' : errorCode;
  if (code === undefined || code === 'draining' || code === 'overloaded') return;
  // Those who are quiet make room for those who speak.
  if (code === 'shed' && record.owedCount === 0) return;
  if ((DESERVED_ERRORS[script.kind] as readonly string[]).includes(code)) return;
  if (code === 'too_fast' && record.owedCount >= OWED_MIN_COUNT) return;
  accuse('I1', `it did nothing wrong and was cut off: ${code}`);
}

/** The events a session got are the first of those it must get: none lost, none doubled, none changed. */
function judgeEvents(events: readonly TrackEvent[], reference: readonly TrackEvent[], accuse: Accuse): void {
  for (const [index, event] of events.entries()) {
    const expected = reference[index];
    const line = eventLine(event);
    const expectedLine = expected === undefined ? 'nothing' : eventLine(expected);
    if (line === expectedLine) continue;
    accuse('I3', `event ${index + 1} was ${line} and not ${expectedLine}`);
    return;
  }
}

/** Finals and flushes come in the order of the audio, each final for its span, all of them before `done`. */
function judgeSequence(record: ClientRecord, reference: readonly TrackEvent[], accuse: Accuse): void {
  const expected: string[] = [];
  const firstId = record.finals[0]?.utteranceId ?? 1;
  let endCount = 0;
  const ends: SpeechEnd[] = [];
  for (const event of reference) {
    if (event.type === 'speechEnd') {
      expected.push(`final ${firstId + endCount++}`);
      ends.push(event);
    } else if (event.type === 'flushed') {
      expected.push(event.id === 'stop' ? 'done' : `flushed ${event.id.replace('client:', '')}`);
    }
  }
  const told = record.sequence;
  if (record.isDone && told.length !== expected.length) {
    accuse('I1', `${told.length} finals and flushes were told of ${expected.length}`);
  }
  const wrong = told.findIndex((entry, index) => entry !== expected[index]);
  if (wrong !== -1)
    accuse('I2', `"${String(told[wrong])}" was told when "${String(expected[wrong])}" was due`);
  for (const [index, final] of record.finals.entries()) judgeFinal(final, ends[index], { record, accuse });
}

function judgeFinal(
  final: FinalMessage,
  end: SpeechEnd | undefined,
  { record, accuse }: { readonly record: ClientRecord; readonly accuse: Accuse },
): void {
  if (end === undefined) return;
  const { originSamples } = record;
  if (final.startAudioMs !== roundMs(end.startSamples) || final.endAudioMs !== roundMs(end.endSamples)) {
    const what = `final ${final.utteranceId} of ${final.startAudioMs}–${final.endAudioMs} ms`;
    accuse('I3', `${what} is for ${roundMs(end.startSamples)}–${roundMs(end.endSamples)} ms`);
  }
  const told = textSpan(final.text);
  if (record.failedIds.has(final.utteranceId)) {
    // What was last shown is the best there is; only it may be nobody else's.
    const isOwn =
      told === undefined ? final.text === '' : told.startSamples + originSamples === end.startSamples;
    if (!isOwn) accuse('I3', `failed final ${final.utteranceId} says "${final.text}"`);
    return;
  }
  const isTooShort = end.endSamples - end.startSamples < msToSamples(RECOGNISER_PCM_MIN_MS);
  const isWordless = isTooShort || judgeText(HYPOTHESIS, end.speechSamples) !== undefined;
  const expected = isWordless
    ? ''
    : spanText({
        client: record.number,
        startSamples: end.startSamples - originSamples,
        endSamples: end.endSamples - originSamples,
      });
  if (final.text !== expected)
    accuse('I3', `final ${final.utteranceId} says "${final.text}" for "${expected}"`);
}

/** Every burst of speech is inside of finals, whatever made of it how many utterances. */
function judgeCoverage(bursts: readonly Burst[], record: ClientRecord, accuse: Accuse): void {
  for (const burst of bursts) {
    let missing = burst.endSamples - burst.startSamples;
    for (const final of record.finals) {
      const from = Math.max(burst.startSamples, msToSamples(final.startAudioMs) - record.originSamples);
      const to = Math.min(burst.endSamples, msToSamples(final.endAudioMs) - record.originSamples);
      missing -= Math.max(0, to - from);
    }
    if (missing <= UNHEARD_MAX_SAMPLES) continue;
    accuse('I3', `${missing} samples of the speech from ${burst.startSamples} on are in no final`);
    return;
  }
}
