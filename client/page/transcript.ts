/** What the page shows of what was said, as data: events in, lines out. Pure. */
import type { FinalMessage, PartialMessage } from '../protocol.ts';

/** A line of the transcript. Positions count the audio of all recordings of the page, one after the other. */
export type Line =
  | {
      readonly type: 'speech';
      /** Unique on the page. */
      readonly id: string;
      readonly startAudioMs: number;
      readonly endAudioMs: number;
      readonly text: string;
      /** Length of the beginning of `text` that has settled; all of it in a final. */
      readonly stableLength: number;
      readonly isFinal: boolean;
    }
  /** Audio that the server never heard. */
  | { readonly type: 'gap'; readonly id: string; readonly startAudioMs: number; readonly endAudioMs: number };

export interface Transcript {
  readonly lines: readonly Line[];
  /** The finals, for files: their positions and ids go on over all recordings. */
  readonly finals: readonly FinalMessage[];
  /** Counts the recordings. */
  readonly recording: number;
  /** Where the current recording begins. */
  readonly originAudioMs: number;
}

export type TranscriptEvent =
  /** A recording begins where the one before ended, after so much audio of it. */
  | { readonly type: 'begin'; readonly previousAudioMs: number }
  | PartialMessage
  | FinalMessage
  | { readonly type: 'audioLost'; readonly fromAudioMs: number; readonly toAudioMs: number }
  /** The recording is over: what has no final by now gets none, and stays as it is. */
  | { readonly type: 'end' };

export const EMPTY_TRANSCRIPT: Transcript = { lines: [], finals: [], recording: 0, originAudioMs: 0 };

/** The transcript after an event; lines that did not change stay the same objects. */
export function heard(transcript: Transcript, event: TranscriptEvent): Transcript {
  const { lines, finals, recording, originAudioMs } = transcript;
  switch (event.type) {
    case 'begin':
      return {
        ...transcript,
        recording: recording + 1,
        originAudioMs: originAudioMs + Math.round(event.previousAudioMs),
      };
    case 'partial':
      return { ...transcript, lines: withLine(lines, speechLine(transcript, event)) };
    case 'final': {
      const line = speechLine(transcript, event);
      return {
        ...transcript,
        lines: event.text === '' ? lines.filter(({ id }) => id !== line.id) : withLine(lines, line),
        finals: [...finals, shifted(event, { originAudioMs, utteranceId: finals.length + 1 })],
      };
    }
    case 'audioLost': {
      const [startAudioMs, endAudioMs] = [event.fromAudioMs + originAudioMs, event.toAudioMs + originAudioMs];
      const id = `${recording}-gap-${startAudioMs}`;
      return { ...transcript, lines: withLine(lines, { type: 'gap', id, startAudioMs, endAudioMs }) };
    }
    case 'end':
      return { ...transcript, lines: lines.map(settled), finals: [...finals, ...unfinished(transcript)] };
  }
}

/** Position as `m:ss`, or `h:mm:ss` from an hour on. */
export function clockText(audioMs: number): string {
  const seconds = Math.floor(audioMs / 1_000);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const tail = String(seconds % 60).padStart(2, '0');
  return hours === 0 ? `${minutes}:${tail}` : `${hours}:${String(minutes).padStart(2, '0')}:${tail}`;
}

function speechLine(
  { recording, originAudioMs }: Transcript,
  event: PartialMessage | FinalMessage,
): Extract<Line, { type: 'speech' }> {
  return {
    type: 'speech',
    id: `${recording}-${event.utteranceId}`,
    startAudioMs: event.startAudioMs + originAudioMs,
    endAudioMs: event.endAudioMs + originAudioMs,
    text: event.text,
    stableLength: event.type === 'final' ? event.text.length : event.stableLength,
    isFinal: event.type === 'final',
  };
}

/** In the order of the audio; a line of the same id is replaced. */
function withLine(lines: readonly Line[], line: Line): readonly Line[] {
  const others = lines.filter(({ id }) => id !== line.id);
  const place = others.findLastIndex(({ startAudioMs }) => startAudioMs <= line.startAudioMs);
  return others.toSpliced(place + 1, 0, line);
}

function settled(line: Line): Line {
  if (line.type === 'gap' || line.isFinal) return line;
  return { ...line, stableLength: line.text.length, isFinal: true };
}

/** What is shown shall be saved, too. */
function unfinished({ lines, finals }: Transcript): FinalMessage[] {
  return lines
    .filter((line) => line.type === 'speech')
    .filter(({ isFinal }) => !isFinal)
    .map(({ text, startAudioMs, endAudioMs }, i) => ({
      ...{ type: 'final', utteranceId: finals.length + 1 + i, text },
      ...{ startAudioMs, endAudioMs, ackedAudioMs: endAudioMs },
    }));
}

function shifted(
  final: FinalMessage,
  { originAudioMs, utteranceId }: { readonly originAudioMs: number; readonly utteranceId: number },
): FinalMessage {
  const move = <T extends { readonly startAudioMs: number; readonly endAudioMs: number }>(span: T): T => ({
    ...span,
    startAudioMs: span.startAudioMs + originAudioMs,
    endAudioMs: span.endAudioMs + originAudioMs,
  });
  const { words } = final;
  return { ...move(final), utteranceId, ...(words === undefined ? {} : { words: words.map(move) }) };
}
