/** Control messages with one thing wrong, or several: deep nesting, touchy names, huge numbers, broken text. */

const SEEDS: readonly string[] = [
  '{"type":"start","version":1,"audio":{"encoding":"opus"}}',
  '{"type":"start","version":1,"audio":{"encoding":"pcm_s16le","sampleRateHz":48000,"channels":2},"words":true}',
  '{"type":"start","version":1,"audio":{"encoding":"opus"},"endpointing":{"silenceMs":300},"partials":false}',
  '{"type":"start","version":1,"audio":{"encoding":"opus"},"resume":{"sessionId":"a","fromAudioMs":1,"nextUtteranceId":2}}',
  '{"type":"flush","id":"a"}',
  '{"type":"stop"}',
  '{"type":"keepAlive"}',
];
const VALUES: readonly string[] = [
  'null',
  'true',
  '-0',
  '1e999',
  '-1e999',
  '9007199254740993',
  `1${'0'.repeat(400)}`,
  '1e-400',
  '"\\u0000"',
  '"\\ud800"',
  '[]',
  '{}',
  '"__proto__"',
  `"${'x'.repeat(3_000)}"`,
];
const NAMES: readonly string[] = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', ''];

type Mutation = (message: string, random: () => number) => string;

function pick<T>(from: readonly T[], random: () => number): T {
  const item = from[Math.floor(random() * from.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

function nested(depth: number, random: () => number): string {
  return random() < 0.5
    ? `${'['.repeat(depth)}${']'.repeat(depth)}`
    : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
}

/** Inserts a field after the first brace. */
const withField = (message: string, name: string, value: string): string =>
  message.replace('{', `{"${name}":${value},`);

const MUTATIONS: readonly Mutation[] = [
  (message, random) => withField(message, 'deep', nested(1 + Math.floor(random() * 600), random)),
  (message, random) => withField(message, pick(NAMES, random), `{"isAdmin":${pick(VALUES, random)}}`),
  (message, random) => message.replace(/:("[^"]*"|\d+|true|false)/, `:${pick(VALUES, random)}`),
  (message, random) => message.replace(/"(version|encoding|id|type)"/, `"${pick(NAMES, random)}"`),
  (message, random) => withField(message, 'type', pick(VALUES, random)),
  (message) => message.replace(/}$/, ',"type":"stop","type":"start"}'),
  (message) => `\ufeff${message}`,
  (message, random) => insertAt(message, random, '\u0000'),
  (message, random) => insertAt(message, random, String.fromCharCode(Math.floor(random() * 0xd7ff))),
  (message, random) => message.slice(0, Math.floor(random() * message.length)),
  (message) => `[${message}]`,
  (message) => `${message}${message}`,
  (_message, random) => pick(VALUES, random),
  (message) => withField(message, 'pad', `"${'x'.repeat(4_200)}"`),
  (message) => message,
];

function insertAt(message: string, random: () => number, what: string): string {
  const at = Math.floor(random() * (message.length + 1));
  return message.slice(0, at) + what + message.slice(at);
}

/** A control message after one to three mutations; some are valid still. Text of at most some 20 KB. */
export function fuzzedControlMessage(random: () => number): string {
  let message = pick(SEEDS, random);
  const count = 1 + Math.floor(random() * 3);
  for (let i = 0; i < count; i++) message = pick(MUTATIONS, random)(message, random);
  return message;
}
