import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEEPGRAM_SILENCE_MIN_MS, SILENCE_MAX_MS } from '../../pipeline/limits.ts';
import { readParameters, type DeepgramParameters } from '../../server/dialects/deepgram_parameters.ts';

const DEFAULTS = {
  silenceMs: 500,
  maxUtteranceMs: 20_000,
  model: 'moonshine-tiny-en',
  voskSampleRateHz: 8_000,
};

function read(query: string): DeepgramParameters {
  return readParameters(new URLSearchParams(query), DEFAULTS);
}

describe('parameters of Deepgram', () => {
  it('[DG20] every encoding has its own, and none is a container', () => {
    for (const [query, encoding, sampleRateHz] of [
      ['encoding=opus', 'opus', 16_000],
      ['encoding=ogg-opus', 'ogg_opus', 16_000],
      ['encoding=linear16&sample_rate=44100', 'pcm_s16le', 44_100],
      ['encoding=linear32&sample_rate=16000', 'pcm_f32le', 16_000],
      ['encoding=mulaw', 'mulaw', 8_000],
      ['encoding=alaw&sample_rate=16000', 'alaw', 16_000],
      ['', 'auto', 16_000],
    ] as const) {
      assert.deepEqual(read(query).format, { encoding, sampleRateHz, channels: 1 }, query);
    }
  });

  it('[DG21] every parameter that is wrong is named', () => {
    for (const [query, names] of [
      ['encoding=flac', ['encoding']],
      ['encoding=linear16', ['sample_rate']],
      ['encoding=linear16&sample_rate=fast&channels=9', ['sample_rate', 'channels']],
      ['interim_results=maybe&endpointing=soon', ['interim_results', 'endpointing']],
      ['utterance_end_ms=10', ['utterance_end_ms']],
      ['encoding=opus&channels=2&multichannel=true', ['multichannel']],
      ['language=fr', ['language']],
    ] as const) {
      assert.throws(
        () => read(query),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'bad_settings');
          const named = error.message.split('; ').map((fault) => fault.split(':')[0]);
          assert.deepEqual(named, names, query);
          return true;
        },
      );
    }
  });

  it('[DG22] what is empty or not known is ignored, and the last of several counts', () => {
    const parameters = read(
      '&model=nova-3&keyterm=a&keyterm=b&language=&diarize=true&punctuate=false&punctuate=True',
    );
    assert.equal(parameters.isFormatted, true);
    assert.equal(read('language=en-US').sessionCount, 1);
    assert.equal(read('language=multi').sessionCount, 1);
  });

  it('[DG23] endpointing is what can be done: never shorter than pauses inside of a sentence', () => {
    for (const [query, silenceMs, hasSpeechFinal] of [
      ['', 500, true],
      ['endpointing=true', 500, true],
      ['endpointing=false', 500, false],
      ['endpointing=25', DEEPGRAM_SILENCE_MIN_MS, true],
      ['endpointing=700', 700, true],
      ['endpointing=60000', SILENCE_MAX_MS, true],
    ] as const) {
      const { endpointing, hasSpeechFinal: told } = read(query);
      assert.deepEqual([endpointing.silenceMs, told], [silenceMs, hasSpeechFinal], query);
    }
  });

  it('[DG24] channels are mixed, or heard each by itself', () => {
    const mixed = read('encoding=linear16&sample_rate=8000&channels=2');
    assert.deepEqual([mixed.format.channels, mixed.sessionCount], [2, 1]);
    const apart = read('encoding=mulaw&channels=2&multichannel=true');
    assert.deepEqual([apart.format.channels, apart.sessionCount, apart.sampleBytes], [1, 2, 1]);
  });
});
