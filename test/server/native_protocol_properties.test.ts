import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AUDIO_ENCODINGS } from '../../pipeline/audio.ts';
import { ProtocolError } from '../../pipeline/errors.ts';
import {
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SILENCE_MAX_MS,
  SILENCE_MIN_MS,
  UTTERANCE_MAX_MS,
  UTTERANCE_MIN_MS,
} from '../../pipeline/limits.ts';
import { parseClientMessage, settingsOf, startFromQuery } from '../../server/dialects/native_messages.ts';
import { settle } from '../support/fake_clock.ts';
import { ACTS, Conversation } from '../support/native_conversation.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const DEFAULTS = { silenceMs: 500, maxUtteranceMs: 20_000, model: 'tiny' };
const OPTIONAL = { requiredKeys: [] };

const audio = fc.record(
  {
    encoding: fc.constantFrom(...AUDIO_ENCODINGS),
    sampleRateHz: fc.integer({ min: PCM_RATE_MIN_HZ, max: PCM_RATE_MAX_HZ }),
    channels: fc.integer({ min: 1, max: 2 }),
  },
  OPTIONAL,
);
const endpointing = fc.record(
  {
    silenceMs: fc.integer({ min: SILENCE_MIN_MS, max: SILENCE_MAX_MS }),
    maxUtteranceMs: fc.integer({ min: UTTERANCE_MIN_MS, max: UTTERANCE_MAX_MS }),
  },
  OPTIONAL,
);
const resume = fc.record({
  sessionId: fc.stringMatching(/^[\w-]{1,64}$/),
  fromAudioMs: fc.oneof(fc.nat(), fc.double({ min: 0, max: Number.MAX_SAFE_INTEGER / 1_000, noNaN: true })),
  nextUtteranceId: fc.integer({ min: 1 }),
});
/** Every setting that can be named; `model` is one time in two another than the server's. */
const start = fc.record(
  {
    ...{ type: fc.constant('start'), version: fc.constant(1), audio },
    ...{ model: fc.constantFrom('tiny', 'huge'), language: fc.stringMatching(/^[a-z]{2}$/) },
    ...{ partials: fc.boolean(), words: fc.boolean(), endpointing, resume },
  },
  { requiredKeys: ['type', 'version'] },
);
type Json = Record<string, unknown>;

/** Fields that JavaScript is touchy about, and some that are only unknown. */
const touchyName = fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'future');
const FIELDS = [
  ...['type', 'version', 'audio', 'audio.encoding', 'audio.sampleRateHz', 'audio.channels', 'token', 'model'],
  ...['language', 'partials', 'words', 'endpointing', 'endpointing.silenceMs', 'endpointing.maxUtteranceMs'],
  ...['resume', 'resume.sessionId', 'resume.fromAudioMs', 'resume.nextUtteranceId'],
];

/** A copy in which the dotted field has this value; objects on the way are made. */
function withField(message: object, path: string, value: unknown): Json {
  const copy = structuredClone(message) as Json;
  const names = path.split('.');
  const last = names.pop() ?? '';
  let target = copy;
  for (const name of names) {
    const inner = target[name];
    target = (target[name] = typeof inner === 'object' && inner !== null ? inner : {}) as Json;
  }
  // Assigning to `__proto__` would set the prototype instead of what JSON.parse makes of it: a field.
  Object.defineProperty(target, last, { value, enumerable: true, writable: true, configurable: true });
  return copy;
}

/** The words of a refusal, if there is one; anything else that is thrown gets through. */
function refusalOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    assert.notEqual(error.message, '');
    return `${error.code} ${error.message}`;
  }
}

const PROTOTYPE_NAMES = Reflect.ownKeys(Object.prototype);

describe('native protocol: properties of messages', () => {
  it('[NAT40] whatever a text frame says is read or refused by a protocol error, and changes no prototype', () => {
    const mutant = fc
      .tuple(start, fc.oneof(fc.constantFrom(...FIELDS), touchyName), fc.jsonValue())
      .map(([message, path, value]) => JSON.stringify(withField(message, path, value)));
    const poisoned = fc
      .tuple(start, fc.constantFrom('', 'audio.', 'endpointing.', 'resume.'), touchyName)
      .map(([message, inside, name]) =>
        JSON.stringify(withField(message, inside + name, { polluted: true })),
      );
    const cut = fc
      .tuple(start, fc.double({ min: 0, max: 1, noNaN: true }), fc.string())
      .map(([message, share, rest]) => {
        const text = JSON.stringify(message);
        return text.slice(0, Math.floor(share * text.length)) + rest;
      });
    const frame = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), mutant, poisoned, cut);
    fc.assert(
      fc.property(frame, (text) => {
        refusalOf(() => {
          const message = parseClientMessage(text);
          assert(['start', 'flush', 'stop', 'keepAlive'].includes(message.type));
          assert.equal(Object.getPrototypeOf(message), Object.prototype);
          assert(!('polluted' in message));
        });
        assert.deepEqual(Reflect.ownKeys(Object.prototype), PROTOTYPE_NAMES);
      }),
      { numRuns: 600 },
    );
  });

  it('[NAT41] a start and the same fields in the query give the same settings or the same refusal', () => {
    fc.assert(
      fc.property(start, fc.boolean(), fc.boolean(), (message, isShort, hasUnknown) => {
        const query = queryOf(message, isShort);
        if (hasUnknown) query.set('future', '1');
        let fromMessage: unknown;
        let fromQuery: unknown;
        const messageRefusal = refusalOf(() => {
          const read = parseClientMessage(JSON.stringify(message));
          assert(read.type === 'start');
          fromMessage = settingsOf(read, DEFAULTS);
        });
        const queryRefusal = refusalOf(() => {
          // A query without a setting is none: the session waits for its start.
          fromQuery = settingsOf(startFromQuery(query) ?? { type: 'start', version: 1 }, DEFAULTS);
        });
        assert.deepEqual([fromQuery, queryRefusal], [fromMessage, messageRefusal]);
        assert.equal(messageRefusal === undefined, message.model !== 'huge');
        if (messageRefusal === undefined) assert(fromMessage !== undefined);
      }),
      { numRuns: 500 },
    );
  });

  it('[NAT42] unknown fields are ignored, wrong ones are named, and an encoding that is not named is auto', () => {
    fc.assert(
      fc.property(start, touchyName, fc.jsonValue(), (message, name, value) => {
        const plain = parseClientMessage(JSON.stringify(message));
        const text = JSON.stringify(withField(message, name, value));
        assert.deepEqual(parseClientMessage(text), plain);
      }),
    );
    fc.assert(
      fc.property(start, wrongField, (message, [path, value]) => {
        // A resume needs its other fields, so that only the one is wrong.
        const whole = { ...message, resume: { sessionId: 's', fromAudioMs: 0, nextUtteranceId: 1 } };
        const text = JSON.stringify(withField(whole, path, value));
        const refusal = refusalOf(() => parseClientMessage(text));
        assert(
          refusal?.startsWith(`bad_settings ${path}: expected `) === true,
          `${path}: ${String(refusal)}`,
        );
        assert(!refusal.includes(';'), 'a field that is wrong in two ways is named once');
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(start, fc.boolean(), fc.string(), (message, isShort, token) => {
        const query = queryOf(message, isShort);
        for (const name of ['type', 'version', 'encoding', 'audio.encoding']) query.delete(name);
        const hasSettings = query.size > 0;
        query.set('token', token);
        const read = startFromQuery(query);
        assert.equal(read !== undefined, hasSettings);
        if (read !== undefined)
          assert.equal(settingsOf({ ...read, model: 'tiny' }, DEFAULTS).format.encoding, 'auto');
      }),
    );
  });
});

/** One field of a valid start with a value of the wrong type or range. */
const wrongField = fc.oneof(
  ...(
    [
      ['audio.sampleRateHz', PCM_RATE_MIN_HZ, PCM_RATE_MAX_HZ],
      ['audio.channels', 1, 2],
      ['endpointing.silenceMs', SILENCE_MIN_MS, SILENCE_MAX_MS],
      ['endpointing.maxUtteranceMs', UTTERANCE_MIN_MS, UTTERANCE_MAX_MS],
      ['resume.nextUtteranceId', 1, Number.MAX_SAFE_INTEGER],
    ] as const
  ).map(([path, min, max]) =>
    fc.tuple(
      fc.constant(path),
      fc.oneof(
        fc.integer({ max: min - 1 }),
        fc.double({ min: max + 1, noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(min + 0.5, null, true, [], {}, String(min)),
      ),
    ),
  ),
  fc.tuple(fc.constantFrom('partials', 'words'), fc.oneof(fc.string(), fc.integer(), fc.constant(null))),
  fc.tuple(
    fc.constantFrom('model', 'language', 'token', 'resume.sessionId'),
    fc.constantFrom(1, null, [], {}),
  ),
  fc.tuple(fc.constantFrom('audio', 'endpointing', 'resume'), fc.constantFrom(1, null, 'opus', [])),
  fc.tuple(fc.constant('resume.fromAudioMs'), fc.constantFrom(-1, 1e300, '1', null)),
  fc.tuple(fc.constant('audio.encoding'), fc.constantFrom('mp3', '', 1, null, '__proto__')),
);

/** The message's fields as query parameters, dotted or, where there is one, by their short name. */
function queryOf(message: object, isShort: boolean): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(message)) {
    if (name === 'type') continue;
    if (typeof value !== 'object' || value === null) {
      query.set(name, String(value));
      continue;
    }
    const prefix = isShort && name !== 'resume' ? '' : `${name}.`;
    for (const [inner, field] of Object.entries(value as Json)) query.set(prefix + inner, String(field));
  }
  return query;
}

describe('native protocol: properties of a conversation', () => {
  it('[NAT43] whatever the order of messages, audio and closes, a connection ends once and leaves nothing behind', async () => {
    const name = fc.constantFrom(...ACTS.keys());
    // What does not end a connection by itself, so that stop, a slow reader and a drain are come to as well.
    const mild = fc.constantFrom(
      ...['flush', 'keepAlive', 'audio', 'muted', 'read', 'utter', 'answer', 'recognise', 'fail'],
      ...['stop', 'stop reading', 'drain'],
    );
    const names = fc.oneof(
      fc.array(name, { maxLength: 16 }),
      fc.array(mild, { maxLength: 16 }).map((rest) => ['start', ...rest]),
      fc.tuple(fc.array(mild, { maxLength: 16 }), name).map(([rest, last]) => ['start', ...rest, last]),
    );
    const ends = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('', '', '', 'encoding=pcm_s16le'), names, async (query, script) => {
        const conversation = new Conversation(query);
        for (const act of script) {
          await ACTS.get(act)?.(conversation);
          conversation.assertDefined();
        }
        conversation.close();
        for (const running of [...conversation.pool.running]) running.succeed(hypothesisOf('late'));
        await settle();
        conversation.assertDefined();
        assert.equal(conversation.registry.count, 0);
        assert(conversation.track.settings === undefined || conversation.track.isClosed);
        ends.add(conversation.connection.closes[0]?.reason ?? 'left');
      }),
      {
        numRuns: 600,
        // The rarest ends are come to whatever the seed.
        examples: [
          ['', ['start', 'utter', 'stop', 'recognise', 'answer']],
          ['', ['wrong model']],
          ['', ['start', 'flush', 'stop reading', 'answer']],
        ],
      },
    );
    for (const end of ['left', '', 'bad_message', 'not_started', 'slow_reader', 'bad_settings']) {
      assert(ends.has(end), `no conversation ended by '${end}'`);
    }
  });
});
