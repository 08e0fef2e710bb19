import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import type { FinalMessage } from '../../client/protocol.ts';
import { LiveLine } from '../../server/commands/live_line.ts';
import { renderTranscript } from '../../client/transcript_format.ts';

function final(utteranceId: number, text: string, startAudioMs: number): FinalMessage {
  const endAudioMs = startAudioMs + 1_234.4;
  return { type: 'final', utteranceId, text, startAudioMs, endAudioMs, ackedAudioMs: endAudioMs };
}

const TRANSCRIPT = {
  file: 'a.wav',
  durationMs: 4_000_000.4,
  finals: [final(1, 'One --> two.', 500), final(2, '', 5_000), final(3, 'Three\u001B[2J\nfour', 3_725_007)],
};

describe('transcripts', () => {
  it('[OUT1] text is a line per utterance with words, without control characters', () => {
    assert.equal(renderTranscript(TRANSCRIPT, 'text'), 'One --> two.\nThree [2J four\n');
  });

  it('[OUT2] JSON is one line with every final, words where there are any', () => {
    const word = { text: 'One', startAudioMs: 0, endAudioMs: 1, estimated: true };
    const finals = [{ ...final(1, 'One', 0), words: [word] }, final(2, '', 9)];
    const line = renderTranscript({ ...TRANSCRIPT, finals }, 'json');
    assert.equal(line.indexOf('\n'), line.length - 1);
    assert.deepEqual(JSON.parse(line), {
      file: 'a.wav',
      durationMs: 4_000_000,
      finals: [
        { utteranceId: 1, startAudioMs: 0, endAudioMs: 1_234.4, text: 'One', words: [word] },
        { utteranceId: 2, startAudioMs: 9, endAudioMs: 1_243.4, text: '' },
      ],
    });
  });

  it('[OUT3] subtitles are numbered without gaps and hold no arrow in their text', () => {
    assert.equal(
      renderTranscript(TRANSCRIPT, 'srt'),
      '1\n00:00:00,500 --> 00:00:01,734\nOne → two.\n\n2\n01:02:05,007 --> 01:02:06,241\nThree [2J four\n\n',
    );
    assert.equal(
      renderTranscript(TRANSCRIPT, 'vtt'),
      'WEBVTT\n\n00:00:00.500 --> 00:00:01.734\nOne → two.\n\n01:02:05.007 --> 01:02:06.241\nThree [2J four\n\n',
    );
  });

  it('[OUT4] the live line shows the end of what is too long, and nothing where there is no terminal', () => {
    const written: string[] = [];
    const stream = new Writable({
      write(text: Buffer, _encoding, done) {
        written.push(text.toString());
        done();
      },
    });
    const silent = new LiveLine(stream);
    silent.show('one');
    silent.clear();
    assert.deepEqual(written, []);
    const live = new LiveLine(Object.assign(stream, { isTTY: true, columns: 8 }));
    live.show('seven..');
    live.show('one two three');
    live.clear();
    live.clear();
    assert.deepEqual(written, ['\r\u001B[2Kseven..', '\r\u001B[2K… three', '\r\u001B[2K']);
  });
});
