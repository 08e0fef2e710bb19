/** Many people who speak at once, in real time, and the finals that each of them got. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { FinalMessage, ServerMessage } from '../../client/protocol.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { patiently } from '../support/patience.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';

/** Texts that the smallest model reads well, wherever the detector's frames lie in them. */
export const STEADY_SENTENCES = [
  'please close the window before it rains',
  'we counted thirty birds on the roof',
  'fresh bread smells best in the morning',
  'the children play football after school',
  'she wrote a long letter to her mother',
  'our teacher speaks three languages',
] as const;

/** And some that it reads well most of the time. */
const SENTENCES = [
  ...STEADY_SENTENCES,
  'the river runs under the old bridge',
  'a small dog sleeps beside the fire',
  'the doctor will see you on monday',
  'they planted tomatoes in the garden',
] as const;

export const PACKET_MS = 20;
const FINISH_MAX_MS = 40_000;

/** A sentence and its place in the person's audio, silence at its ends included. */
export interface SpokenSentence {
  readonly text: string;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
}

/** What one person says. */
export interface Script {
  readonly sentences: readonly SpokenSentence[];
  readonly packets: readonly Uint8Array[];
}

/** What one person was told: finals in the order they came, and the time each took from its `speechEnd`. */
export interface Hearing {
  readonly finals: readonly FinalMessage[];
  readonly latenciesMs: readonly number[];
  readonly endedWell: boolean;
  /** If it did not: what the server said before it ended the session, or the code of the close. */
  readonly error?: string;
}

/**
 * Scripts of about `durationMs`, each with its own order of sentences and its own loudness, so that no two people
 * ever say the same samples. `complexity` is the Opus encoder's: 0 where many minutes are encoded and no model hears
 * them. `texts` are what they choose from.
 */
export async function writeScripts(
  count: number,
  durationMs: number,
  {
    complexity,
    texts = SENTENCES,
  }: { readonly complexity?: number; readonly texts?: readonly string[] } = {},
): Promise<readonly Script[]> {
  const spoken = await Promise.all(texts.map((text) => synthesise(text, { voice: 'rms' })));
  return Array.from({ length: count }, (_, person) => {
    const gain = 0.5 + (0.5 * person) / count;
    const parts: Int16Array[] = [silence(100 + ((person * 370) % 3_000))];
    const sentences: SpokenSentence[] = [];
    let samples = parts[0]?.length ?? 0;
    for (let i = person; ; i++) {
      const speech = spoken[i % spoken.length] ?? new Int16Array(0);
      const pause = silence(1_200 + ((person * 130 + i * 410) % 1_500));
      if ((samples + speech.length + pause.length) / 16 > durationMs) break;
      parts.push(
        speech.map((sample) => Math.round(sample * gain)),
        pause,
      );
      const text = texts[i % texts.length] ?? '';
      sentences.push({ text, startAudioMs: samples / 16, endAudioMs: (samples + speech.length) / 16 });
      samples += speech.length + pause.length;
    }
    return { sentences, packets: encodeOpus(concat(...parts, silence(1_000)), complexity) };
  });
}

/**
 * Everybody speaks as soon as they are let in, for nobody is kept who is silent for long; resolves when all have their
 * `done`. Packets have absolute times, whatever happened before.
 */
export async function speak(serverUrl: string, scripts: readonly Script[]): Promise<readonly Hearing[]> {
  const url = `${serverUrl.replace('http', 'ws')}/v1/stream?encoding=opus`;
  const people = new Set<Person>();
  const speaking = new Map<Person, () => void>();
  let isOver = false;
  const timer = setInterval(() => {
    for (const [person, hasSpoken] of speaking) {
      if (!person.sendDue()) continue;
      speaking.delete(person);
      hasSpoken();
    }
  }, 10);
  const hear = async (script: Script): Promise<Hearing> => {
    const person = await patiently(() => Person.connect(url, script));
    people.add(person);
    // Somebody else could not be let in.
    if (isOver) person.leave();
    await new Promise<void>((hasSpoken) => speaking.set(person, hasSpoken));
    return person.finish();
  };
  try {
    return await Promise.all(scripts.map(hear));
  } finally {
    isOver = true;
    clearInterval(timer);
    for (const person of people) person.leave();
  }
}

class Person {
  #startedAtMs = 0;
  readonly #script: Script;
  readonly #socket: WebSocket;
  readonly #finals: FinalMessage[] = [];
  readonly #latenciesMs: number[] = [];
  readonly #endedAtMs = new Map<number, number>();
  readonly #closed: Promise<number>;
  #sentCount = 0;
  #isDone = false;
  #error: string | undefined;

  private constructor(socket: WebSocket, script: Script) {
    this.#script = script;
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    // A refusal is told to whoever waits for the open socket; a cut connection shows as its close.
    socket.on('error', () => undefined);
    socket.on('message', (bytes: Buffer) => {
      this.#hear(JSON.parse(bytes.toString('utf8')) as ServerMessage);
    });
  }

  static async connect(url: string, script: Script): Promise<Person> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const person = new Person(socket, script);
    await once(socket, 'open');
    person.#startedAtMs = performance.now();
    return person;
  }

  /** Says what should be said by now; true if that is all. */
  sendDue(): boolean {
    const { packets } = this.#script;
    const playedMs = performance.now() - this.#startedAtMs;
    for (; this.#sentCount < packets.length; this.#sentCount++) {
      if ((this.#sentCount + 1) * PACKET_MS > playedMs) return false;
      this.#socket.send(packets[this.#sentCount] ?? new Uint8Array(0));
    }
    return true;
  }

  /** In the middle of a word. */
  leave(): void {
    this.#socket.terminate();
  }

  async finish(): Promise<Hearing> {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send('{"type":"stop"}');
    const timer = setTimeout(() => {
      this.#socket.terminate();
    }, FINISH_MAX_MS);
    const code = await this.#closed;
    clearTimeout(timer);
    const [finals, latenciesMs] = [this.#finals, this.#latenciesMs];
    if (this.#isDone) return { finals, latenciesMs, endedWell: true };
    return { finals, latenciesMs, endedWell: false, error: this.#error ?? `close code ${code}` };
  }

  #hear(message: ServerMessage): void {
    if (message.type === 'speechEnd') this.#endedAtMs.set(message.utteranceId, performance.now());
    if (message.type === 'done') this.#isDone = true;
    if (message.type === 'error') this.#error = message.code;
    if (message.type !== 'final') return;
    this.#finals.push(message);
    this.#latenciesMs.push(
      performance.now() - (this.#endedAtMs.get(message.utteranceId) ?? performance.now()),
    );
  }
}
