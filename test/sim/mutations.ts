/** Bugs that the simulation must find: each is one replacement in one compiled file. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Mutation {
  readonly name: string;
  /** Below the build folder. */
  readonly file: string;
  /** Occurs exactly once in the file; how its lines are broken does not matter. */
  readonly search: string;
  readonly replacement: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'outputs of a replay are delivered again',
    file: 'pipeline/audio_pool.js',
    search: 'if (track === undefined || seq <= track.deliveredSeq)',
    replacement: 'if (track === undefined)',
  },
  {
    name: 'a replay starts from nothing instead of the checkpoint',
    file: 'pipeline/remote_track.js',
    search: '...(checkpoint === undefined ? {} : { state: checkpoint })',
    replacement: '',
  },
  {
    name: 'an input that a checkpoint includes is kept',
    file: 'pipeline/remote_track.js',
    search: 'entry.seq > checkpoint.inputSeq',
    replacement: 'entry.seq >= checkpoint.inputSeq',
  },
  {
    name: 'the bound on what is kept for a replay is gone',
    file: 'pipeline/audio_pool.js',
    search: 'track.logBytes + bytes > SESSION_INFLIGHT_MAX_BYTES',
    replacement: 'false',
  },
  {
    name: 'a checkpoint is off by one input',
    file: 'pipeline/audio_track.js',
    search: 'return { inputSeq: this.#inputSeq, state };',
    replacement: 'return { inputSeq: this.#inputSeq - 1, state };',
  },
  {
    name: 'inputs without audio are never checkpointed',
    file: 'pipeline/audio_track.js',
    search: 'this.#takenCount >= CHECKPOINT_INTERVAL_COUNT',
    replacement: 'false',
  },
  {
    name: 'the decoder of a closed track is never freed',
    file: 'pipeline/audio_worker.js',
    search: 'this.#tracks.get(id)?.close();',
    replacement: '',
  },
  {
    name: 'a final is made as a partial is, which need not be exact',
    file: 'pipeline/session.js',
    search: 'isWhole: attempt.isWhole',
    replacement: 'isWhole: false',
  },
  {
    name: 'a partial that happens to end where its utterance does is the final',
    file: 'pipeline/utterance.js',
    search: 'return attempt?.isWhole === true &&',
    replacement: 'return attempt !== undefined &&',
  },
  {
    name: 'all utterances have one number',
    file: 'pipeline/scheduler.js',
    search: 'utterance: this.#nextUtterance++',
    replacement: 'utterance: 1',
  },
  {
    name: 'messages of an earlier process are heard',
    file: 'pipeline/supervised_worker.js',
    search: 'if (life === this.#life) this.#hear(life, message);',
    replacement: 'if (this.#life !== undefined) this.#hear(this.#life, message);',
  },
  {
    name: 'the exit of an earlier process counts for the present one',
    file: 'pipeline/supervised_worker.js',
    search: 'if (life === this.#life) this.#bury(life, exit);',
    replacement: 'if (this.#life !== undefined) this.#bury(this.#life, exit);',
  },
  {
    name: 'timers outlive the process they watch',
    file: 'pipeline/supervised_worker.js',
    search: 'for (const cancel of life.cancels) cancel();',
    replacement: '',
  },
  {
    name: 'a worker is taken for hung before what it said is read',
    file: 'pipeline/supervised_worker.js',
    search: 'if (this.#isSilent(life)) this.#judgeSilence(life);',
    replacement: "if (this.#isSilent(life)) this.kill('hang');",
  },
  {
    name: 'the deadline of a job is not cancelled',
    file: 'pipeline/inference_pool.js',
    search: 'batch?.cancelDeadline();',
    replacement: '',
  },
  {
    name: 'a worker gets a second job',
    file: 'pipeline/inference_pool.js',
    search: "slot.batch === undefined && slot.worker.state === 'ready'",
    replacement: "slot.worker.state === 'ready'",
  },
  {
    name: 'a job whose worker died is forgotten',
    file: 'pipeline/scheduler.js',
    search: "outcome: 'retried' }); this.#finals.add({ ...final, queuedAtMs: this.#options.clock.nowMs() });",
    replacement: "outcome: 'retried' });",
  },
  {
    name: 'poison is tried for ever',
    file: 'pipeline/strikes.js',
    search: 'return !this.#bears(0);',
    replacement: 'return false;',
  },
  {
    name: 'what may have ended a batch is put into another',
    file: 'pipeline/strikes.js',
    search: "if (how === 'shared') this.#isSuspect = true; else if",
    replacement: "if (how === 'shared') { } else if",
  },
  {
    name: 'a batch that was sent is given another job',
    file: 'pipeline/inference_pool.js',
    search: 'return batch.sentCount > 0 ? 0 : size.count - batch.jobs.size;',
    replacement: 'return size.count - batch.jobs.size;',
  },
  {
    name: 'the queue of finals has no end',
    file: 'pipeline/scheduler.js',
    search: 'this.#finals.count >= FINAL_QUEUE_MAX_COUNT',
    replacement: 'false',
  },
  {
    name: 'a partial for an utterance that has ended is shown',
    file: 'pipeline/session.js',
    search: 'if (utterance !== this.#speaking) return this.#endAttempt(utterance);',
    replacement: '',
  },
  {
    name: 'an early final is sent although somebody spoke on',
    file: 'pipeline/utterance.js',
    search: 'attempt.endSamples === end?.samples',
    replacement: 'true',
  },
  {
    name: 'an early final that still runs is not waited for',
    file: 'pipeline/session.js',
    search: "if (early === 'running') { utterance.onAttemptEnd",
    replacement: "if (early === 'running') { utterance.onNothing",
  },
  {
    name: 'a final is delivered before it is computed',
    file: 'pipeline/delivery_queue.js',
    search: 'const [oldest] = this.#deliveries; return oldest !== undefined && isReady(oldest) ?',
    replacement: 'return this.#deliveries.length > 0 ?',
  },
  {
    name: 'a final is computed from the wrong span',
    file: 'pipeline/session.js',
    search: 'this.#audio.slice(utterance.startSamples, event.endSamples)',
    replacement: 'this.#audio.slice(utterance.startSamples, event.endSamples - 16)',
  },
  {
    name: 'what the client does not read is dropped in silence',
    file: 'server/dialects/dialect_socket.js',
    search: "this.#deliver(message) !== 'full'",
    replacement: "this.#deliver(message) !== 'never'",
  },
  {
    name: 'the time that the gateway stood still is held against its clients',
    file: 'server/session_registry.js',
    search: 'lateMs > LATE_MESSAGE_GRACE_MS',
    replacement: 'false',
  },
  {
    name: 'a resumed session counts its utterances from one again',
    file: 'client/stream_client.js',
    search: 'nextUtteranceId: this.#gate.nextUtteranceId,',
    replacement: 'nextUtteranceId: 1,',
  },
  {
    name: 'a new connection goes on with the next audio instead of what was not acknowledged',
    file: 'client/outbox.js',
    search: 'this.#isConnected = true; this.#nextNumber = this.#ring.firstNumber;',
    replacement: 'this.#isConnected = true;',
  },
  {
    name: 'a resume names a place that is not the beginning of its audio',
    file: 'client/outbox.js',
    search: 'fromAudioMs: this.#ring.startAudioMs,',
    replacement: 'fromAudioMs: Math.max(0, this.#ring.startAudioMs - 20),',
  },
  {
    name: 'the client forgets a message more than was acknowledged',
    file: 'client/audio_ring.js',
    search: 'startAudioMs + durationMs <= audioMs',
    replacement: 'startAudioMs - durationMs <= audioMs',
  },
  {
    name: 'what was half written when the disk was full stays',
    file: 'server/records/private_folder.js',
    search: 'await this.#removeQuietly(`${name}${TEMPORARY_SUFFIX}`); throw error;',
    replacement: 'throw error;',
  },
  {
    name: 'a file that was cut off by a full disk counts as written',
    file: 'server/records/private_folder.js',
    search: 'if (bytes !== content.length)',
    replacement: 'if (false)',
  },
  {
    name: 'a crash report that could not be written is not counted',
    file: 'server/records/crash_reports.js',
    search: "telemetry.count('crash_record_write_failures_total', {});",
    replacement: '',
  },
  {
    name: 'partials that were held back for load never come back',
    file: 'pipeline/load_ladder.js',
    search: 'if (pressure >= bound) next = index;',
    replacement: 'if (pressure >= bound || index <= current) next = index;',
  },
];

/** The file of a build with the bug in it. Throws if the code that it replaces is not there exactly once. */
export async function mutated(build: string, { file, search, replacement, name }: Mutation): Promise<string> {
  const parts = (await readFile(join(build, file), 'utf8')).split(anywayLaidOut(search));
  if (parts.length !== 2)
    throw new Error(`"${name}": the code is there ${parts.length - 1} times in ${file}`);
  return parts.join(replacement);
}

/** Finds code however its lines are broken. */
function anywayLaidOut(code: string): RegExp {
  const words = code.split(' ').map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'));
}
