import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AUDIO_ENCODINGS } from '../../pipeline/audio.ts';
import { ProtocolError } from '../../pipeline/errors.ts';
import {
  FINAL_OBJECTIVE_MS,
  FLUSH_ID_MAX_LENGTH,
  IDLE_MAX_MS,
  SILENCE_MAX_MS,
  UTTERANCE_MIN_MS,
} from '../../pipeline/limits.ts';
import { parseClientMessage, settingsOf, startFromQuery } from '../../server/dialects/native_messages.ts';

const START = { type: 'start', version: 1, audio: { encoding: 'opus' } } as const;
const DEFAULTS = { silenceMs: 500, maxUtteranceMs: 20_000, model: 'tiny' };

/** The fields that a message is refused for. */
function faultsOf(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (error) {
    assert(error instanceof ProtocolError);
    return error.message.split('; ').map((fault) => fault.split(':')[0] ?? '');
  }
  return [];
}

function parse(message: unknown): unknown {
  return parseClientMessage(JSON.stringify(message));
}

describe('native messages', () => {
  it('[NAT1] every control message is read', () => {
    const messages = [
      START,
      { type: 'start', version: 1 },
      { ...START, audio: {} },
      ...AUDIO_ENCODINGS.map((encoding) => ({ ...START, audio: { encoding } })),
      { ...START, audio: { encoding: 'pcm_s16le', sampleRateHz: 48_000, channels: 2 }, words: true },
      { ...START, endpointing: { silenceMs: 300 }, partials: false, model: 'm', language: 'en' },
      { ...START, resume: { sessionId: 's', fromAudioMs: 12.5, nextUtteranceId: 3 } },
      { type: 'flush', id: 'x'.repeat(FLUSH_ID_MAX_LENGTH) },
      { type: 'stop' },
      { type: 'keepAlive' },
    ];
    for (const message of messages) assert.deepEqual(parse(message), message);
  });

  it('[NAT2] every field that is wrong is named, all of them at once', () => {
    const wrong: readonly (readonly [unknown, readonly string[]])[] = [
      [{ ...START, version: 2 }, ['version']],
      [{ ...START, audio: null }, ['audio']],
      [{ ...START, audio: { encoding: 'mp3' } }, ['audio.encoding']],
      [
        { ...START, audio: { encoding: 'pcm_s16le', sampleRateHz: 7_999, channels: 3 } },
        ['audio.sampleRateHz', 'audio.channels'],
      ],
      [
        { ...START, endpointing: { silenceMs: SILENCE_MAX_MS + 1, maxUtteranceMs: UTTERANCE_MIN_MS - 1 } },
        ['endpointing.silenceMs', 'endpointing.maxUtteranceMs'],
      ],
      [{ ...START, partials: 'yes', words: 1 }, ['partials', 'words']],
      [
        { ...START, resume: { sessionId: 's', fromAudioMs: -1, nextUtteranceId: 0 } },
        ['resume.fromAudioMs', 'resume.nextUtteranceId'],
      ],
      [
        { ...START, resume: { sessionId: 's', fromAudioMs: 1e300, nextUtteranceId: 2 ** 53 - 1 } },
        ['resume.fromAudioMs', 'resume.nextUtteranceId'],
      ],
      [{ type: 'flush' }, ['id']],
      [{ type: 'flush', id: '' }, ['id']],
      [{ type: 'flush', id: 'x'.repeat(FLUSH_ID_MAX_LENGTH + 1) }, ['id']],
      [{ type: 'dance' }, ['type']],
      [{}, ['type']],
      [[], ['message']],
      [null, ['message']],
    ];
    for (const [message, fields] of wrong) {
      assert.deepEqual(
        faultsOf(() => parse(message)),
        fields,
        JSON.stringify(message),
      );
    }
  });

  it('[NAT3] what is no JSON object is refused, without a library speaking to the client', () => {
    for (const text of ['', '{', 'start', '{"type":"stop"}{}', '\u0000']) {
      assert.throws(() => parseClientMessage(text), {
        code: 'bad_message',
        message: 'a text frame must be one JSON object',
      });
    }
  });

  it('[NAT3] [NAT9] what is wrong with a field is said in the words of the protocol', () => {
    for (const [message, code, text] of [
      [[], 'bad_message', 'message: expected an object'],
      [{ type: 'dance' }, 'bad_message', 'type: expected one of start, flush, stop, keepAlive'],
      [{ type: 'flush' }, 'bad_message', 'id: expected 1 to 64 characters'],
      [{ ...START, audio: 5 }, 'bad_settings', 'audio: expected an object'],
      [{ ...START, version: 2 }, 'bad_settings', 'version: expected 1'],
      [{ ...START, partials: 'yes' }, 'bad_settings', 'partials: expected true or false'],
      [
        { ...START, audio: { encoding: 'pcm_s16le', sampleRateHz: 7_999.5 } },
        'bad_settings',
        'audio.sampleRateHz: expected a whole number from 8000 to 48000',
      ],
    ] as const) {
      assert.throws(() => parse(message), { code, message: text });
    }
    const read = () => startFromQuery(new URLSearchParams('encoding=opus&silenceMs=long'));
    const text = 'endpointing.silenceMs: expected a whole number from 100 to 3000';
    assert.throws(read, { code: 'bad_settings', message: text });
  });

  it('[NAT4] unknown fields are ignored, and those that JavaScript is touchy about change nothing', () => {
    const text =
      '{"type":"stop","future":1,"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    assert.deepEqual(parseClientMessage(text), { type: 'stop' });
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });

  it('[NAT5] settings in the query are the same as the message with the same fields', () => {
    const query =
      'audio.encoding=pcm_s16le&audio.sampleRateHz=8000&audio.channels=2&language=en&partials=false&words=true' +
      '&endpointing.silenceMs=300&endpointing.maxUtteranceMs=9000&version=1&model=tiny' +
      '&resume.sessionId=s&resume.fromAudioMs=1500&resume.nextUtteranceId=4&unknown=1';
    const message = parse({
      ...{ type: 'start', version: 1, audio: { encoding: 'pcm_s16le', sampleRateHz: 8_000, channels: 2 } },
      ...{ language: 'en', partials: false, words: true, model: 'tiny' },
      endpointing: { silenceMs: 300, maxUtteranceMs: 9_000 },
      resume: { sessionId: 's', fromAudioMs: 1_500, nextUtteranceId: 4 },
    });
    const fromQuery = startFromQuery(new URLSearchParams(query));
    assert(fromQuery !== undefined);
    assert.deepEqual(JSON.parse(JSON.stringify(fromQuery)), message);
    const short = startFromQuery(new URLSearchParams('encoding=opus&silenceMs=300&maxUtteranceMs=9000'));
    assert.deepEqual(short?.endpointing, { silenceMs: 300, maxUtteranceMs: 9_000 });
    assert.equal(startFromQuery(new URLSearchParams('token=x')), undefined);
    assert.equal(startFromQuery(new URLSearchParams('')), undefined);
  });

  it('[NAT6] in a query, too, the field that is wrong is named', () => {
    const wrong: readonly (readonly [string, readonly string[]])[] = [
      ['encoding=mp3', ['audio.encoding']],
      ['encoding=opus&sampleRateHz=fast', ['audio.sampleRateHz']],
      ['encoding=opus&silenceMs=', ['endpointing.silenceMs']],
      ['encoding=opus&partials=maybe', ['partials']],
      ['encoding=opus&resume.fromAudioMs=1', ['resume.sessionId', 'resume.nextUtteranceId']],
    ];
    for (const [query, fields] of wrong) {
      assert.deepEqual(
        faultsOf(() => startFromQuery(new URLSearchParams(query))),
        fields,
        query,
      );
    }
  });

  it('[NAT8] a setting that comes twice in a query is refused, by name', () => {
    for (const [query, message] of [
      ['encoding=opus&encoding=pcm_s16le', 'audio.encoding or encoding: expected once'],
      ['audio.encoding=opus&encoding=opus', 'audio.encoding or encoding: expected once'],
      ['encoding=opus&words=true&words=true&model=a&model=b', 'model: expected once; words: expected once'],
    ] as const) {
      const read = () => startFromQuery(new URLSearchParams(query));
      assert.throws(read, { code: 'bad_settings', message });
    }
    assert(startFromQuery(new URLSearchParams('encoding=opus&future=1&future=2')) !== undefined);
  });

  it('[NAT7] what is not asked for is filled in; another model is refused', () => {
    assert.deepEqual(settingsOf(START, DEFAULTS), {
      format: { encoding: 'opus', sampleRateHz: 16_000, channels: 1 },
      endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
      partials: true,
      words: false,
      originAudioMs: 0,
      firstUtteranceId: 1,
      idleMaxMs: IDLE_MAX_MS,
      dialect: 'native',
      finalObjectiveMs: FINAL_OBJECTIVE_MS,
      isPaced: false,
    });
    for (const audio of [undefined, {}, { sampleRateHz: 16_000 }]) {
      const start = { type: 'start', version: 1, ...(audio === undefined ? {} : { audio }) } as const;
      const { format } = settingsOf(start, DEFAULTS);
      assert.deepEqual(format, { encoding: 'auto', sampleRateHz: 16_000, channels: 1 });
    }
    const withoutEncoding = startFromQuery(new URLSearchParams('partials=true'));
    assert(withoutEncoding !== undefined);
    assert.equal(settingsOf(withoutEncoding, DEFAULTS).format.encoding, 'auto');
    const resume = { sessionId: 's', fromAudioMs: 1_500, nextUtteranceId: 4 };
    const resumed = settingsOf({ ...START, model: 'tiny', resume }, DEFAULTS);
    assert.deepEqual([resumed.originAudioMs, resumed.firstUtteranceId], [1_500, 4]);
    assert.throws(() => settingsOf({ ...START, model: 'huge' }, DEFAULTS), { code: 'bad_settings' });
  });
});
