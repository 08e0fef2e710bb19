import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { UtteranceEndReason } from '../../pipeline/contracts.ts';
import { deepgramDialect } from '../../server/dialects/deepgram_dialect.ts';
import type { Dialect, DialectParts } from '../../server/dialects/dialect.ts';
import { openaiDialect } from '../../server/dialects/openai_dialect.ts';
import { voskDialect } from '../../server/dialects/vosk_dialect.ts';
import { DialectSetting } from '../support/dialect_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';
import { settle } from '../support/fake_clock.ts';

type Act = (setting: DialectSetting) => void | Promise<void>;

const TYPES = [
  ...['KeepAlive', 'Finalize', 'CloseStream', 'Configure'],
  ...[
    'session.update',
    'transcription_session.update',
    'input_audio_buffer.append',
    'input_audio_buffer.commit',
  ],
  ...[
    'input_audio_buffer.clear',
    'conversation.item.retrieve',
    'conversation.item.delete',
    'response.create',
  ],
];

const hear =
  (act: (setting: DialectSetting) => void): Act =>
  (setting) => {
    // What the audio path says comes only while it is open.
    if (!setting.track.isClosed) act(setting);
  };

const known: fc.Arbitrary<object> = fc.oneof(
  fc.record(
    {
      ...{
        type: fc.constantFrom(...TYPES),
        channel: fc.jsonValue(),
        session: fc.jsonValue(),
        item_id: fc.jsonValue(),
      },
      audio: fc.oneof(fc.base64String(), fc.jsonValue()),
    },
    { requiredKeys: ['type'] },
  ),
  fc.record(
    {
      config: fc.oneof(fc.record({ sample_rate: fc.constantFrom(8_000, 16_000) }), fc.jsonValue()),
      ...{ eof: fc.jsonValue(), reset: fc.jsonValue() },
    },
    { requiredKeys: [] },
  ),
);

const acts: fc.Arbitrary<Act> = fc.oneof(
  fc
    .oneof(
      fc.string(),
      fc.json(),
      known.map((message) => JSON.stringify(message)),
    )
    .map((text): Act => ({ listener }) => {
      listener.text(text);
    }),
  fc.uint8Array({ maxLength: 700 }).map((bytes): Act => ({ listener }) => {
    listener.binary(bytes.slice());
  }),
  fc.constantFrom<UtteranceEndReason>('silence', 'split', 'flush', 'audioStopped').map((reason) =>
    hear(({ track }) => {
      track.start();
      track.speak(1_000);
      track.end(1_000, 0, reason);
    }),
  ),
  fc.constantFrom<Act>(
    hear(({ track }) => {
      track.answerFlushes();
    }),
    async ({ pool }) => {
      pool.running[0]?.succeed(hypothesisOf('hello there'));
      await settle();
    },
    async ({ clock }) => clock.advance(1_000),
    ({ connection }) => {
      connection.isFull = !connection.isFull;
    },
    ({ track }) => {
      track.isBehind = !track.isBehind;
    },
    ({ registry }) => {
      if (!registry.isDraining) void registry.drain();
    },
  ),
);

const DIALECTS: Readonly<Record<string, readonly [(parts: DialectParts) => Dialect, string]>> = {
  deepgram: [
    deepgramDialect,
    'encoding=linear16&sample_rate=16000&interim_results=true&utterance_end_ms=1000&vad_events=true',
  ],
  openai: [openaiDialect, ''],
  vosk: [voskDialect, ''],
};

describe('dialects: properties of a conversation', () => {
  for (const [name, [create, query]] of Object.entries(DIALECTS)) {
    it(`[DIA5] ${name}: whatever the order of messages, audio and closes, a connection ends once and leaves nothing`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(acts, { maxLength: 25 }), async (sequence) => {
          const setting = new DialectSetting(create, { query });
          for (const act of sequence) await act(setting);
          assert(setting.connection.closes.length <= 1);
          setting.listener.closed(1006);
          setting.registry.close();
          // A drain waits for its deadline.
          await setting.clock.advance(60_000);
          setting.assertNothingLeft();
        }),
        { numRuns: 200 },
      );
    });
  }
});
