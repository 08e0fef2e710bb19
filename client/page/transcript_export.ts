/** Hands the transcript to the person: as a file, or to the clipboard. */
import { renderTranscript, type TranscriptFormat } from '../transcript_format.ts';
import { byId } from './elements.ts';
import type { Transcript } from './transcript.ts';

const FILES: Readonly<Record<TranscriptFormat, { readonly ending: string; readonly type: string }>> = {
  text: { ending: 'txt', type: 'text/plain' },
  srt: { ending: 'srt', type: 'application/x-subrip' },
  vtt: { ending: 'vtt', type: 'text/vtt' },
  json: { ending: 'json', type: 'application/json' },
};

/** Asks for the format; saves nothing if the person would rather not. */
export class SaveDialog {
  readonly #dialog = byId('saving', HTMLDialogElement);

  /** `current` is asked when a format was chosen. */
  constructor(current: () => Transcript) {
    this.#dialog.addEventListener('close', () => {
      const format = this.#dialog.returnValue;
      if (isFormat(format)) download(current(), format);
    });
  }

  open(): void {
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
  }
}

/** The words, a line for each utterance. */
export function transcriptText(transcript: Transcript): string {
  return rendered(transcript, 'text');
}

function rendered({ finals }: Transcript, format: TranscriptFormat): string {
  const durationMs = finals.at(-1)?.endAudioMs ?? 0;
  return renderTranscript({ file: 'earwitness', durationMs, finals }, format);
}

function isFormat(value: string): value is TranscriptFormat {
  return value in FILES;
}

function download(transcript: Transcript, format: TranscriptFormat): void {
  const { ending, type } = FILES[format];
  const url = URL.createObjectURL(
    new Blob([rendered(transcript, format)], { type: `${type};charset=utf-8` }),
  );
  const link = document.createElement('a');
  link.href = url;
  link.download = `transcript.${ending}`;
  link.click();
  URL.revokeObjectURL(url);
}
