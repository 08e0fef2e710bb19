/** The finals of a recording: plain text, JSON, or subtitles. */
import type { FinalMessage, Word } from './protocol.ts';

/** Forms of a transcript. */
export type TranscriptFormat = 'text' | 'json' | 'srt' | 'vtt';

/** What was heard in one file. */
export interface FileTranscript {
  readonly file: string;
  readonly durationMs: number;
  readonly finals: readonly FinalMessage[];
}

interface JsonFinal {
  readonly utteranceId: number;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly text: string;
  readonly words?: readonly Word[];
}

/** A whole transcript, with the line break at its end; empty for a text without words. */
export function renderTranscript(transcript: FileTranscript, format: TranscriptFormat): string {
  const spoken = transcript.finals.filter(({ text }) => text !== '');
  switch (format) {
    case 'text':
      return spoken.map(({ text }) => `${oneLine(text)}\n`).join('');
    case 'json':
      return `${JSON.stringify(jsonOf(transcript))}\n`;
    case 'srt':
      return spoken.map((final, i) => `${i + 1}\n${cueOf(final, ',')}\n`).join('');
    case 'vtt':
      return `WEBVTT\n\n${spoken.map((final) => `${cueOf(final, '.')}\n`).join('')}`;
  }
}

/** The text as one line that a terminal shows as it is: no control characters. */
export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}

function jsonOf({ file, durationMs, finals }: FileTranscript): object {
  return {
    file,
    durationMs: Math.round(durationMs),
    finals: finals.map(({ utteranceId, startAudioMs, endAudioMs, text, words }): JsonFinal => ({
      utteranceId,
      startAudioMs,
      endAudioMs,
      text,
      ...(words === undefined ? {} : { words }),
    })),
  };
}

/** A cue of SubRip or WebVTT: they differ in the decimal sign. `-->` would end a cue's text in both. */
function cueOf({ startAudioMs, endAudioMs, text }: FinalMessage, decimalSign: ',' | '.'): string {
  const times = [startAudioMs, endAudioMs].map((ms) => timestamp(ms, decimalSign)).join(' --> ');
  return `${times}\n${oneLine(text).replaceAll('-->', '→')}\n`;
}

function timestamp(ms: number, decimalSign: string): string {
  const whole = Math.round(ms);
  const parts = [whole / 3_600_000, (whole / 60_000) % 60, (whole / 1_000) % 60].map((part) =>
    String(Math.floor(part)).padStart(2, '0'),
  );
  return `${parts.join(':')}${decimalSign}${String(whole % 1_000).padStart(3, '0')}`;
}
