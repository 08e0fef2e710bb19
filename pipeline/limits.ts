/** Every bound in the server: its unit, its reason, and how it relates to the others. */
import assert from 'node:assert/strict';

/** Largest Opus message. RFC 6716 caps a frame at 1,275 bytes; 1,500 is libFuzzer's own bound for a packet. */
export const OPUS_MESSAGE_MAX_BYTES = 1_500;
/** Longest audio in one Opus packet (RFC 6716 section 3.1). */
export const OPUS_PACKET_MAX_MS = 120;
/** Largest PCM message: 250 ms of 48 kHz stereo is 48,000 bytes, the largest slice common clients send. */
export const PCM_MESSAGE_MAX_BYTES = 49_152;
/** The same of 32-bit floats. */
export const FLOAT_MESSAGE_MAX_BYTES = 2 * PCM_MESSAGE_MAX_BYTES;
/** Largest message of a container: what Node reads from a file at a time. Browsers' slices of a second have under 20,000. */
export const CONTAINER_MESSAGE_MAX_BYTES = 65_536;
/** Bytes of a container per second of real time: 96 kHz stereo in 32-bit samples has 768,000; Opus has at most 64,000. */
export const CONTAINER_RATE_MAX_BYTES = 1_000_000;
/** Bytes of Ogg, of damaged pages and between pages, that good pages do not make up for: four of the largest pages. */
export const OGG_LOST_MAX_BYTES = 262_144;
/** Largest list of tracks in WebM; browsers write 100 bytes, fonts and pictures are not in it. */
export const WEBM_TRACKS_MAX_BYTES = 65_536;
/** Largest block of Opus in WebM: 40 packets of the largest size in one. */
export const WEBM_BLOCK_MAX_BYTES = 65_536;
/** Largest element of WebM that is skipped: attached pictures and indexes have less. A larger one is a damaged length. */
export const WEBM_SKIPPED_MAX_BYTES = 16_777_216;
/** Largest format of a WAV file; an extensible one has 40 bytes. */
export const WAV_FORMAT_MAX_BYTES = 256;
/** Most channels and highest rate of a WAV file: studio recordings. */
export const WAV_CHANNELS_MAX_COUNT = 64;
export const WAV_RATE_MAX_HZ = 192_000;
/** Largest control message; a `start` with every field is under 500 bytes. */
export const CONTROL_MESSAGE_MAX_BYTES = 4_096;
/** Largest utterance id that a resumed session may begin with: centuries of speech, and far below where integers end. */
export const UTTERANCE_ID_MAX = 2_147_483_647;
/** Utterances that one session can have, so that those of several have ids of their own: one a second for ten days. */
export const UTTERANCES_PER_SESSION_COUNT = 1_000_000;
/** Longest id of a `flush`; it is echoed. */
export const FLUSH_ID_MAX_LENGTH = 64;
/** Sample rates of PCM that are accepted: telephony to studio. */
export const PCM_RATE_MIN_HZ = 8_000;
export const PCM_RATE_MAX_HZ = 48_000;
/**
 * Most positions between two input samples for which a resampling filter is tabulated. Rates that need more (44,101 Hz
 * needs 16,000) are interpolated between neighbours, with an error below that of 16-bit rounding; a table for every
 * position would let a client's choice of rate cost megabytes.
 */
export const RESAMPLER_PHASE_MAX_COUNT = 512;
/** Rates whose filters are kept; clients use a handful. The least recently added goes first. */
export const RESAMPLER_FILTER_MAX_COUNT = 16;
/** The transport's hard stop. Our own bounds are below it, so that clients get a close code and a reason. */
export const TRANSPORT_MESSAGE_MAX_BYTES = 131_072;

/** Largest API key or token; a key has 46 bytes, a token some 300. */
export const CREDENTIAL_MAX_BYTES = 4_096;
/** Shortest life of a token: its times are whole seconds. */
export const TOKEN_LIFE_MIN_MS = 1_000;
/** Longest life of a token: a browser asks for another one long before. */
export const TOKEN_LIFE_MAX_MS = 24 * 60 * 60 * 1_000;
/** API keys in one file, and the file's size: an entry with the longest name has under 500 bytes. */
export const KEYS_MAX_COUNT = 1_000;
export const KEYS_FILE_MAX_BYTES = 1_048_576;
/** Longest name of an API key. */
export const KEY_NAME_MAX_LENGTH = 64;
/** A key that was created or revoked counts after this time at the latest. */
export const KEYS_POLL_INTERVAL_MS = 2_000;
/** Connections that may wait for a token in their first message, and bytes that each of them may send meanwhile. */
export const PENDING_TOKEN_MAX_COUNT = 256;
export const PENDING_TOKEN_MAX_BYTES = 65_536;
/**
 * Connections that may be open without having sent their `start`, all addresses together: some KB each, for
 * HANDSHAKE_MAX_MS at most. Clients send it at once, even if all come back together.
 */
export const STARTS_AWAITED_MAX_COUNT = 1_024;
/** Addresses whose rate of connections is remembered; some 150 bytes each. */
export const ADDRESS_TABLE_MAX_COUNT = 65_536;
/** Connections an address may open at once, as a share of what it may open in a minute. */
export const CONNECTION_BURST_RATIO = 0.25;
/** Told to a client that has all its sessions: one of them may have ended by then. */
export const SESSIONS_RETRY_AFTER_SECONDS = 10;
/** Proxies, the last ones, of which a request may say that it came through them; more than two are rare. */
export const FORWARDED_HOPS_MAX_COUNT = 16;
/** Addresses and networks of proxies that can be configured. */
export const TRUSTED_PROXIES_MAX_COUNT = 64;
/** Origins that can be configured. */
export const ALLOWED_ORIGINS_MAX_COUNT = 256;
/** Largest count of sessions or connections that can be configured: more than any one machine serves. */
export const ACCESS_COUNT_MAX = 1_000_000;

/** Time from the open socket to a valid `start`. */
export const HANDSHAKE_MAX_MS = 5_000;
/** Time without audio or `keepAlive` after which a session is closed. */
export const IDLE_MAX_MS = 10_000;
/** Longest session; uWebSockets.js allows at most 240 minutes. */
export const SESSION_MAX_MS = 4 * 60 * 60 * 1_000;
/** Wall-clock time without audio after which an utterance in progress ends, beyond the session's silenceMs. */
export const AUDIO_STOPPED_GRACE_MS = 500;
/** The same of containers, on top: recorders send a slice when it is full, and are asked for slices of up to a second. */
export const CONTAINER_SLICE_MAX_MS = 1_500;

/** Range of the trailing silence a session may ask for. */
export const SILENCE_MIN_MS = 100;
export const SILENCE_MAX_MS = 3_000;
/**
 * The least silence that ends an utterance for Deepgram's clients, which ask for 10 or 25 ms: there it says when they are
 * told of a pause, here it says where the audio is cut, and below this it is cut inside of sentences.
 */
export const DEEPGRAM_SILENCE_MIN_MS = 300;
/** Range of the time without words after which they may be told that an utterance has ended; the lower end is Deepgram's. */
export const UTTERANCE_GAP_MIN_MS = 1_000;
export const UTTERANCE_GAP_MAX_MS = 60_000;
/** Range of the longest utterance a session may ask for. Moonshine was trained on spans of up to 30 s. */
export const UTTERANCE_MIN_MS = 2_000;
export const UTTERANCE_MAX_MS = 29_000;

/** Longest audio a recogniser accepts. */
export const RECOGNISER_PCM_MAX_MS = 30_000;
/** Shortest audio worth running the model on; less is no speech. */
export const RECOGNISER_PCM_MIN_MS = 100;
/** Most utterances that one run on an accelerator takes: beyond it the time grows as fast as the batch. */
export const BATCH_MAX_COUNT = 32;
/** Time of a batch that is aimed at: a final that has just missed one waits for it, and takes one itself. */
export const BATCH_OBJECTIVE_MS = 150;
/** Jobs of the first batch on a device that nothing is known of yet. */
export const BATCH_START_COUNT = 4;
/** Full batches after which one that was halved for memory is tried larger: if that fails again, it costs a run in so many. */
export const BATCH_REGROW_COUNT = 100;
/** What the latest batch weighs in what is known of a device's times. */
export const BATCH_TIME_WEIGHT_RATIO = 0.05;
/** Padding in a run: more than this and the shorter rows are run by themselves. */
export const BATCH_PADDING_MAX_RATIO = 0.4;
/** Lengths of runs come in steps of this: devices choose their programs anew for each shape. */
export const BATCH_LENGTH_STEP_MS = 500;
/**
 * Tokens that the float graphs may choose otherwise than the published ones when they are prepared, of a signal that
 * is no speech, where choices are close; speech that was read gave the same words.
 */
export const FLOAT_ERROR_MAX_RATIO = 0.25;
/** Tokens of drafts read in one run, all rows together: each takes 128 KiB of a device's memory for its choice. */
export const BATCH_READ_TOKENS_MAX_COUNT = 512;
/**
 * What was said is encoded for partials until so much has been heard after it; then that is used again. Measured on
 * speech, words of partials beside the final's: with 1 s as many are right as with all that follows, with 0.7 s fewer.
 */
export const ENCODER_LOOKAHEAD_MS = 1_000;
/** Speech that the encodings of utterances in progress are kept of in one worker: 1 MB a second, of base models 2. */
export const ENCODER_CACHE_MAX_MS = 120_000;
/** After one to two of this, what is kept of an utterance that has no more partials is forgotten. */
export const ENCODER_CACHE_IDLE_MS = 5_000;
/** Token budget of a hypothesis: per second of audio (the model card's cap against loops), and for any audio. */
export const TOKENS_PER_AUDIO_SECOND_COUNT = 6.5;
export const TOKENS_SPARE_COUNT = 4;
/** A hypothesis whose end is this many copies of one phrase, of this many tokens together, is a loop. */
export const REPETITION_MIN_COUNT = 4;
export const REPETITION_MIN_TOKENS_COUNT = 16;
/** The same for a hypothesis that used up its token budget, which speech never does. */
export const EXHAUSTED_REPETITION_MIN_COUNT = 3;
export const EXHAUSTED_REPETITION_MIN_TOKENS_COUNT = 6;
/** Text of more tokens than this is withheld: fast speech has 6 a second of speech; twice that, and room for a short word. */
export const TOKENS_PER_SPEECH_SECOND_MAX_COUNT = 12;
export const TOKENS_FREE_COUNT = 4;
/** Voiced audio below this holds no word: two frames of 32 ms, the least that a flush makes an utterance of. */
export const SPEECH_MIN_SAMPLES = 1_024;

/** Time from `stop` to `done`; beyond it the finals that are owed cannot be had here. Parked workers come back in 10 s. */
export const SESSION_STOP_MAX_MS = 60_000;

/** Audio a client may send ahead of real time before it is throttled (burst after a reconnect, buffered start). */
export const AHEAD_OF_REALTIME_MAX_MS = 30_000;
/**
 * How fast what is ahead runs out, in seconds of audio a second: above 1, so that a client that had to catch up after a loss
 * comes back to real time, and below what would let one take the share of two for long.
 */
export const CATCH_UP_RATIO = 1.5;
/** Audio ahead of real time at which the session is closed. */
export const AHEAD_OF_REALTIME_CLOSE_MS = 60_000;
/** Input bytes of one session that are on their way to its audio worker and not yet processed. */
export const SESSION_INFLIGHT_MAX_BYTES = 4 * 1_024 * 1_024;
/** What an input counts for beside its bytes, so that many tiny ones are bounded too. Measured: 100–150 bytes of heap. */
export const INPUT_OVERHEAD_BYTES = 64;
/** Inputs for one audio worker are sent together this often: fewer, larger messages between processes. */
export const INPUT_COALESCE_MS = 10;
/**
 * Audio workers tell their processor time this often; it is looked at every LOAD_SAMPLE_INTERVAL_MS. Asking the system
 * with each reply took a twentieth of their time.
 */
export const BUSY_TOLD_INTERVAL_MS = 50;
/** A session's audio path is checkpointed after this much audio: what a replay has to decode again at most. */
export const CHECKPOINT_INTERVAL_MS = 2_000;
/** The same after so many inputs: flushes bring no audio, and would be kept for ever. Speech has 100 packets in 2 s. */
export const CHECKPOINT_INTERVAL_COUNT = 256;
/** Window of messages, and undecodable ones in it, that show the audio not to be in the named encoding. */
export const FAULT_WINDOW_COUNT = 100;
export const FAULT_WINDOW_MAX_COUNT = 30;
/** Undecodable Opus messages in a row after which a decoder starts afresh: its state is then made of what was invented. */
export const OPUS_FAULT_RUN_MAX_COUNT = 3;
/** First messages of a session that are looked at for being Opus at all, and those out of step that say no; measured there. */
export const OPUS_EVIDENCE_COUNT = 16;
export const OPUS_OUT_OF_STEP_MAX_COUNT = 9;
/** Bytes a socket may hold back because the client does not read. */
export const SEND_BUFFER_MAX_BYTES = 256 * 1_024;
/** Clients' connections: one that nothing was heard from in this time is asked for a sign of life, and is cut off after … */
export const KEEP_ALIVE_INTERVAL_MS = 10_000;
/** … this many such intervals in silence. */
export const KEEP_ALIVE_MISSED_COUNT = 2;
/** Time a peer has to read what is left and to answer a close frame. */
export const CLOSE_MAX_MS = 5_000;
/** Time for the headers of a request; uWebSockets.js has 10 s built in, this is the same for the other transport. */
export const HTTP_HEADERS_MAX_MS = 10_000;
/** Time for the body of a request, and again for its answer. */
export const HTTP_EXCHANGE_MAX_MS = 30_000;
/** Largest body of a request: four minutes of 16 kHz PCM. */
export const HTTP_BODY_MAX_BYTES = 8 * 1_024 * 1_024;
/** Bodies that may be in memory at once, all requests together. */
export const HTTP_BODIES_MAX_BYTES = 64 * 1_024 * 1_024;
/** Turns of a conversation that can still be asked for; clients ask right after the turn. */
export const CONVERSATION_ITEM_MAX_COUNT = 500;
/** Least audio that an OpenAI client may commit; theirs. */
export const COMMIT_MIN_MS = 100;
/** Life of a key for a browser in seconds: the range that OpenAI's clients may ask for, and what they get if they do not. */
export const CLIENT_SECRET_MIN_SECONDS = 10;
export const CLIENT_SECRET_MAX_SECONDS = 7_200;
export const CLIENT_SECRET_SECONDS = 600;
/** Finals that a client that waits may be owed before more of its audio is taken: one that is computed, and the next. */
export const PACED_OWED_MAX_COUNT = 2;
/** When a final of recorded audio should have been sent: nobody hears it as it is spoken, so those who speak come first. */
export const RECORDED_FINAL_OBJECTIVE_MS = 5_000;
/** How soon audio that was not taken is offered again; what was taken goes to its worker after INPUT_COALESCE_MS. */
export const PACED_RETRY_MS = 15;
/** Recorded audio is offered in pieces of this size: 8 s of Opus at 32 kbit/s, 1 s of PCM. */
export const RECORDED_PIECE_BYTES = 32_768;
/** Time a recorded file may take; the answer has to be there when the exchange ends. Measured: 73 s of speech took 15 to 26 s on two cores at a load of 22. */
export const RECORDED_MAX_MS = 27_000;
/** Finals and flushes that one session may be owed. */
export const PENDING_DELIVERY_MAX_COUNT = 64;
/** How often sessions look at the clock, for endpoints and time-outs. */
export const TICK_INTERVAL_MS = 100;

/**
 * Streams judged in one run of the voice detector. Measured: a frame costs 82 µs alone, 17 µs among 32 and 16 µs among
 * 64; 32 take half a millisecond, during which the worker reads no message.
 */
export const VOICE_BATCH_MAX_COUNT = 32;

/** Live Opus decoders in one WebAssembly instance, and instances in one audio worker. */
export const DECODERS_PER_SHARD_COUNT = 64;
export const SHARDS_PER_WORKER_COUNT = 64;
/** Sessions one audio worker can hold a decoder for. */
export const SESSIONS_PER_AUDIO_WORKER_COUNT = SHARDS_PER_WORKER_COUNT * DECODERS_PER_SHARD_COUNT;

/** Finals that may wait in the scheduler, all sessions together. Beyond it new sessions are refused long before. */
export const FINAL_QUEUE_MAX_COUNT = 1_024;
/** A partial is worth its cost when at least this much audio is new since the last. */
export const PARTIAL_NEW_AUDIO_MIN_MS = 200;
/** One in so many hypotheses that had a draft is made again without it: a hundredth of the work, done when there is none. */
export const DRAFT_AUDIT_EVERY_COUNT = 100;
/** How often it is looked whether no other job runs; longer than the gaps between the jobs of a busy server. */
export const DRAFT_AUDIT_RETRY_MS = 500;
/** When a final should have been sent after its endpoint; the order of finals follows from it. */
export const FINAL_OBJECTIVE_MS = 500;
/** How old the newest audio in a partial may be when it is sent. */
export const PARTIAL_OBJECTIVE_MS = 1_000;
/** A final that has not come by then is given up: what was last shown is sent instead, with a notice. */
export const FINAL_WAIT_MAX_MS = 60_000;
/** When load would make partials rarer than this, they are suspended instead: they would only confuse. */
export const PARTIAL_INTERVAL_MAX_MS = 4_000;
/** Suspended partials come back when they would be this much more frequent than that: no flapping at the bound. */
export const PARTIAL_RESUME_RATIO = 0.75;
/** Share of the slots' time that partials may take. Finals go first in any case, and most are computed as partials. */
export const PARTIAL_SLOT_SHARE = 0.9;
/**
 * Share of a slot that the partials of one utterance may take while one of them still comes in this time. Measured
 * where each encodes all of it: one of 5 s takes 50 ms, and stays at the shortest interval; one of 12 s takes 130 ms.
 */
export const PARTIAL_SOURCE_SHARE = 0.1;
export const PARTIAL_COST_INTERVAL_MAX_MS = 800;
/** Weight of the latest partial in the running mean of what partials cost: one that was slow by chance is soon forgotten. */
export const PARTIAL_COST_WEIGHT_RATIO = 0.25;
/** Wait of a final for a try at which new sessions are refused at once; where partials are suspended, FINAL_OBJECTIVE_MS. */
export const FINAL_WAIT_FULL_MS = 2 * FINAL_OBJECTIVE_MS;
/** The load is looked at this often … */
export const LOAD_SAMPLE_INTERVAL_MS = 250;
/** … and is the mean over so many samples, five seconds: one stall, or one burst of finals, is no load. */
export const LOAD_WINDOW_COUNT = 20;
/**
 * Shares of what there is at which the server gives something up: partials, then new sessions, then sessions in which
 * nobody speaks. Queues grow without bound near 1; what lies above the last is for those who speak.
 */
export const LOAD_SUSPEND_RATIO = 0.7;
export const LOAD_REFUSE_RATIO = 0.85;
export const LOAD_SHED_RATIO = 0.92;
/** What was given up comes back when the load is this much lower. */
export const LOAD_HYSTERESIS_RATIO = 0.05;
/** A session is quiet when nobody has spoken in it for so long: a pause in a conversation is shorter. */
export const QUIET_MIN_MS = 60_000;
/** Room that sessions need beside what the processes take at rest; growth is measured against at least this. */
export const MEMORY_ROOM_MIN_BYTES = 128 * 1_024 * 1_024;
/** Told to who is refused: when a burst is over, and when the ladder may have been climbed down. */
export const OVERLOAD_RETRY_AFTER_SECONDS = 5;
/** The same where all sessions are taken, where the server is not ready yet, and where it drains: another one is there. */
export const FULL_RETRY_AFTER_SECONDS = 10;
export const UNREADY_RETRY_AFTER_SECONDS = 2;
export const DRAINING_RETRY_AFTER_SECONDS = 1;
/** The same where too many have not sent their `start`: they are gone by then. */
export const CROWDED_RETRY_AFTER_SECONDS = 6;
/** Deaths of workers on one job after which its audio is poison. */
export const JOB_DEATH_MAX_COUNT = 2;
/** The same where workers without a job died too, so that something else than audio ends them; audio may still be at fault. */
export const JOB_DEATH_EXCUSED_MAX_COUNT = 8;
/** For each death on its utterance a final lets those go first that are due by so much later. */
export const JOB_DEATH_SETBACK_MS = 5_000;
/** A session whose audio ends workers again within this time is closed. */
export const AUDIO_POISON_REPEAT_MS = 10 * 60 * 1_000;
/** How long the death of a worker without a job excuses those of workers that had one. */
export const DISTURBANCE_MS = 10_000;
/** Job deadline: at least this, and this times the audio's duration. Measured: 0.03 × on one core. */
export const JOB_DEADLINE_MIN_MS = 2_000;
export const JOB_DEADLINE_AUDIO_RATIO = 0.5;
/** So often it is put off for a worker that wanted to compute and had less than half the time on a processor. */
export const JOB_DEADLINE_EXTENSION_MAX_COUNT = 4;
/** A timer that fires later than this shows that we stood still ourselves. */
export const TIMER_LATE_MIN_MS = 50;

/** Time a worker has from its start to `ready`, with the model loaded and warmed. */
export const WORKER_START_MAX_MS = 60_000;
/** An idle worker is asked for a sign of life this often … */
export const HEARTBEAT_INTERVAL_MS = 1_000;
/** … and is killed when it has not answered for this long. */
export const HEARTBEAT_MAX_MS = 5_000;
/** Before silence is judged, messages that wait unread are given this long: it may be we who stood still. */
export const LATE_MESSAGE_GRACE_MS = 250;
/** A worker above this is replaced when it is idle. Measured: 236 to 245 MB with the tiny model, warmed. */
export const WORKER_RSS_MAX_BYTES = 1_536 * 1_024 * 1_024;
/** The same beside accelerators: the libraries of CUDA and cuDNN alone can take more than a worker on the CPU may. */
export const ACCELERATOR_RSS_MAX_BYTES = 4 * WORKER_RSS_MAX_BYTES;
/**
 * A gateway that has not answered its supervisor for this long hangs. Longer than for workers: what ends with it is every
 * connection, and its event loop has been seen to stand still for a second on a machine with too much to do.
 */
export const GATEWAY_SILENCE_MAX_MS = 10_000;
/** Longest account of the exception that ended a gateway. */
export const LAST_WORDS_MAX_LENGTH = 16_384;
/** Steps of the kill ladder: asked to stop, then SIGTERM, then SIGKILL. */
export const STOP_ASK_MAX_MS = 1_000;
export const STOP_TERM_MAX_MS = 1_000;
/** A process that SIGKILL did not end by then is stuck in a driver; it is given up, and its slot goes on without it. */
export const STOP_KILL_MAX_MS = 5_000;
/** Restart back-off: doubling from the first to the last, with jitter of a fifth. */
export const RESTART_BACKOFF_MIN_MS = 100;
export const RESTART_BACKOFF_MAX_MS = 10_000;
/** More deaths than this in the window park a slot for the window's length. */
export const RESTART_INTENSITY_COUNT = 5;
export const RESTART_INTENSITY_WINDOW_MS = 10_000;
/** Deaths on an accelerator in that window, all slots together, from which on each slot that loses a worker goes on on the CPU. */
export const DEVICE_DEATH_MAX_COUNT = 4;
/** A slot that does without its accelerator tries it this often … */
export const DEVICE_PROBE_INTERVAL_MS = 10_000;
/** … and trusts it when a worker there has heard the canary phrase so many times on end. */
export const DEVICE_PROBE_PASS_COUNT = 3;
/** Last lines of a worker's stderr that are kept for its crash report. */
export const STDERR_TAIL_MAX_BYTES = 65_536;
/** Longest line of a worker's output that goes into the log. */
export const WORKER_LINE_MAX_LENGTH = 8_192;
/** Time that what a dead worker still had in its pipes has to be read, before its death is told. */
export const LAST_WORDS_MAX_MS = 100;

/** Time npm may take to fetch one package: the largest (69 MB) over 1 Mbit/s takes 9 minutes. */
export const DOWNLOAD_MAX_MS = 30 * 60 * 1_000;
/** A download folder untouched for this long belongs to nobody, even if its owner cannot be asked. */
export const DOWNLOAD_ABANDONED_MS = 2 * 60 * 60 * 1_000;
/** Time a model's graphs may take to be prepared. Measured: 5 to 7 s on one busy core, the largest too. */
export const PREPARATION_MAX_MS = 5 * 60 * 1_000;

/** Time an utterance in progress has to end by itself when the server drains. */
export const DRAIN_SPEECH_MAX_MS = 5_000;
/**
 * Cores that one audio worker serves by default. Of what a session takes that speaks a tenth of the time, the model
 * takes two thirds or more, and the cores are shared.
 */
export const CORES_PER_AUDIO_WORKER_COUNT = 4;
/** Workers of one role that can be configured, and threads of one run: more than any machine this is meant for has cores. */
export const WORKERS_MAX_COUNT = 64;
export const INFERENCE_THREADS_MAX_COUNT = 64;
/** Audio of a file that may wait to go out before `transcribe` reads on: enough to keep the connection busy. */
export const FILE_UNSENT_MAX_MS = 1_000;
/** The utterance that `bench` measures with: as long as what people say in one breath. */
export const BENCH_SPEECH_MS = 4_000;
/** Longest that `bench` can be asked to measure one way: more says no more. */
export const BENCH_MAX_SECONDS = 600;
/** Largest configuration file; one with every setting is under 2,000 bytes. */
export const CONFIG_FILE_MAX_BYTES = 65_536;

/** Requests to the admin port: time to send the headers, time for all of it, and open connections. */
export const ADMIN_HEADERS_MAX_MS = 5_000;
export const ADMIN_REQUEST_MAX_MS = 10_000;
export const ADMIN_CONNECTION_MAX_COUNT = 64;

/** Moments kept of a session for its trace: some ten utterances, at most 8 KB. */
export const TRACE_MARKS_MAX_COUNT = 256;
/** Audio after so long without any is a moment of its own; packets come every 20 to 250 ms. */
export const TRACE_AUDIO_GAP_MS = 1_000;
/** Sessions whose trace is kept when they have ended; somebody who complains does so within minutes. */
export const TRACE_ENDED_MAX_COUNT = 64;
/** Spans that may wait for the collector of traces; what comes on top is dropped and counted. */
export const OTLP_QUEUE_MAX_COUNT = 2_048;
/** Most spans of one request, how often they are sent, and the time that a request, or all of them at the end, may take. */
export const OTLP_BATCH_MAX_COUNT = 512;
export const OTLP_FLUSH_INTERVAL_MS = 5_000;
export const OTLP_REQUEST_MAX_MS = 5_000;
/** How often `nvidia-smi` is asked, which takes some 100 ms of another process, and how long it may take. */
export const GPU_PROBE_INTERVAL_MS = 15_000;
export const GPU_PROBE_MAX_MS = 5_000;
/** GPUs that metrics tell apart. */
export const GPU_MAX_COUNT = 16;

/** Log bytes that may wait for whoever reads stdout; what comes on top is dropped and counted. */
export const LOG_BUFFER_MAX_BYTES = 1_048_576;
/** Time the last lines have to be written when the server ends. */
export const LOG_FLUSH_MAX_MS = 1_000;
/** Lines of one event in a window; what comes on top is counted and summed up in one line. */
export const LOG_REPEAT_MAX_COUNT = 100;
export const LOG_REPEAT_WINDOW_MS = 10_000;
/** Events that are told apart for that; their names are constants, so this many never exist. */
export const LOG_EVENT_MAX_COUNT = 1_024;

/** Beginning of an utterance by which it is known again: well beyond the pre-roll, which is often digital silence. */
export const POISON_HEAD_MS = 500;
/** Contents that are remembered as poison, and beginnings that are suspect: more means that the machine is at fault. */
export const POISON_MEMORY_MAX_COUNT = 256;
/** Messages shorter than this are not remembered as poison: Opus packets of silence have 1 to 10 bytes, and are often equal. */
export const POISON_MESSAGE_MIN_BYTES = 16;
/** How long poison is refused, and kept on disk: longer would outlive the update that cures it. */
export const QUARANTINE_AGE_MAX_MS = 24 * 60 * 60 * 1_000;
/** How long a beginning that ended one worker is suspect: a client that tries again does so within minutes. */
export const SUSPECT_AGE_MAX_MS = 10 * 60 * 1_000;
/** Bounds of the quarantine on disk: an utterance of 30 s is 1 MB. */
export const QUARANTINE_MAX_COUNT = 64;
export const QUARANTINE_MAX_BYTES = 64 * 1_024 * 1_024;
/** The folder is looked through this often, for what has expired and for what an operator has cleared. */
export const QUARANTINE_SWEEP_INTERVAL_MS = 30_000;
/** Bytes of the folder of crash reports, Node's own included; and the most reports that can be configured. */
export const CRASH_REPORTS_MAX_BYTES = 200 * 1_024 * 1_024;
export const CRASH_REPORTS_MAX_COUNT = 1_000;
/**
 * How far the wall clock may go back, for a time zone or another source, without what is written then passing for the
 * oldest of its folder. A file from further ahead comes from a clock that was wrong, and nothing is dated after it.
 */
export const CLOCK_BACK_MAX_MS = 12 * 60 * 60 * 1_000;
/**
 * Crash reports, and quarantined contents, that may wait for a slow disk: a report has at most about 70 KB, an utterance 1 MB.
 * What comes on top is counted and logged, not written.
 */
export const DISK_QUEUE_MAX_COUNT = 32;
/** Bytes of a worker's last words in a log line, where the report could not be written. */
export const CRASH_LOG_STDERR_MAX_BYTES = 4_096;
/** Largest report of Node's that is kept. Measured: 11 KB, more with many handles. */
export const NODE_REPORT_MAX_BYTES = 1_024 * 1_024;
/** Time that the server waits for a disk when it starts and when it ends. */
export const DISK_WAIT_MAX_MS = 1_000;

/**
 * Attempts of `transcribe` to reach a server that has not answered yet: 2 to 4 s, enough for one that starts listening,
 * and soon enough for somebody who mistyped its port.
 */
export const FIRST_CONNECTION_MAX_ATTEMPTS = 5;
/** Time a drain may take before what is left is closed. */
export const DRAIN_MAX_MS = 25_000;
/** Time a gateway that was asked to stop has for all but the drain; then its supervisor kills it. */
export const GATEWAY_END_MAX_MS = 10_000;

/** Sessions of one load test: more than one machine generates. */
export const LOAD_SESSIONS_MAX_COUNT = 20_000;
/** Processes that generate load, and stages of one load test. */
export const LOAD_PROCESSES_MAX_COUNT = 64;
export const LOAD_STAGES_MAX_COUNT = 64;
/** Longest load test: a session of it that begins at once ends by itself before the server would end it. */
export const LOAD_MAX_MS = 3 * 60 * 60 * 1_000;
/** Different sentences that are spoken; synthesis takes 0.1 s for each. Two sessions say the same at once only beyond so many who speak. */
export const LOAD_SENTENCES_MAX_COUNT = 256;
/** Sentences that are said again and again at the least; with more sessions, as many as there are sessions. */
export const LOAD_SENTENCES_MIN_COUNT = 32;
/** Processes of the synthesiser that a sentence is tried on: one was seen to crash now and then. */
export const LOAD_SYNTHESIS_MAX_ATTEMPTS = 3;
/** Share of wrong words above which a text is not the sentence of its place. */
export const LOAD_OWN_WORD_ERROR_MAX_RATIO = 0.5;
/** Time that the processes of a load test have to hear when they are to begin. */
export const LOAD_BEGIN_DELAY_MS = 500;
/** How often whoever watches a load test is told of it: a terminal shows no more. */
export const LOAD_PROGRESS_INTERVAL_MS = 500;
/** Time a session of a load test has to be opened by the server … */
export const LOAD_OPEN_MAX_MS = 30_000;
/** … and, after its last audio, to be given what it is owed: enough to tell late from lost, also where the server gives a final up. */
export const LOAD_FINISH_MAX_MS = 75_000;
/** The same after an interrupt: somebody waits at the terminal. */
export const LOAD_INTERRUPTED_FINISH_MAX_MS = 5_000;
/** Connections in a row that may be lost before a session of a load test counts as failed, and the back-off between them. */
export const LOAD_RECONNECTS_MAX_COUNT = 8;
export const LOAD_RECONNECT_MIN_MS = 250;
export const LOAD_RECONNECT_MAX_MS = 5_000;
/** Times that a session asks again where it was refused, and the longest that it waits as it was told. */
export const LOAD_REFUSALS_MAX_COUNT = 20;
export const LOAD_RETRY_AFTER_MAX_MS = 60_000;
/** Audio that a session sends ahead of real time after a reconnect. */
export const LOAD_BACKLOG_MAX_MS = 20_000;
/** Bytes a session's socket may hold back, its server not reading, until it sends no more. */
export const LOAD_UNSENT_MAX_BYTES = 1_024 * 1_024;
/** Longest latency that a load test tells from a longer one. */
export const LOAD_LATENCY_MAX_MS = 60 * 60 * 1_000;
/** Share of the capacity to which it is found: enough to plan with. */
export const LOAD_CAPACITY_PRECISION_RATIO = 0.05;
/** Trials of a search for the capacity: doubling to LOAD_SESSIONS_MAX_COUNT takes 15, halving the last step to a twentieth 5. */
export const LOAD_TRIALS_MAX_COUNT = 20;
/** Time between two trials: the server has forgotten the load of the one before. */
export const LOAD_TRIAL_PAUSE_MS = 6_000;

const RELATIONS: readonly (readonly [lower: number, higher: number, why: string])[] = [
  [OPUS_MESSAGE_MAX_BYTES, PCM_MESSAGE_MAX_BYTES, 'an Opus packet is smaller than a PCM message'],
  [FLOAT_MESSAGE_MAX_BYTES, TRANSPORT_MESSAGE_MAX_BYTES, 'clients get our close code, not a cut'],
  [CONTAINER_MESSAGE_MAX_BYTES, TRANSPORT_MESSAGE_MAX_BYTES, 'clients get our close code, not a cut'],
  [PCM_RATE_MAX_HZ, WAV_RATE_MAX_HZ, 'WAV holds at least what may come bare'],
  [OPUS_MESSAGE_MAX_BYTES, WEBM_BLOCK_MAX_BYTES, 'a packet fits a block'],
  [WEBM_BLOCK_MAX_BYTES, WEBM_SKIPPED_MAX_BYTES, 'what is skipped may be larger than what is kept'],
  [CONTROL_MESSAGE_MAX_BYTES, TRANSPORT_MESSAGE_MAX_BYTES, 'clients get our close code, not a cut'],
  [SILENCE_MIN_MS, DEEPGRAM_SILENCE_MIN_MS, 'Deepgram clients ask for what any client may'],
  [DEEPGRAM_SILENCE_MIN_MS, SILENCE_MAX_MS, 'Deepgram clients ask for what any client may'],
  [SESSION_MAX_MS / 100, UTTERANCES_PER_SESSION_COUNT, 'no session runs out of ids'],
  [UTTERANCE_MAX_MS, RECOGNISER_PCM_MAX_MS, 'every utterance fits the recogniser'],
  [UTTERANCE_MAX_MS, ENCODER_CACHE_MAX_MS, 'what is kept holds the longest utterance'],
  [PARTIAL_INTERVAL_MAX_MS, ENCODER_CACHE_IDLE_MS, 'what is kept is there for the next partial'],
  [BUSY_TOLD_INTERVAL_MS, LOAD_SAMPLE_INTERVAL_MS, 'each look at the load finds something new'],
  [
    SILENCE_MAX_MS + AUDIO_STOPPED_GRACE_MS + CONTAINER_SLICE_MAX_MS,
    IDLE_MAX_MS,
    'a final comes before the idle close',
  ],
  [EXHAUSTED_REPETITION_MIN_TOKENS_COUNT, REPETITION_MIN_TOKENS_COUNT, 'a spent budget is more suspect'],
  [OPUS_OUT_OF_STEP_MAX_COUNT, OPUS_EVIDENCE_COUNT, 'not every message has to be out of step'],
  [OPUS_FAULT_RUN_MAX_COUNT, FAULT_WINDOW_MAX_COUNT, 'a fresh decoder is tried before audio is given up'],
  [FILE_UNSENT_MAX_MS, AHEAD_OF_REALTIME_MAX_MS, 'what waits to go out is never too far ahead'],
  [DOWNLOAD_MAX_MS, DOWNLOAD_ABANDONED_MS, 'no download in progress is taken for an abandoned one'],
  [PREPARATION_MAX_MS, DOWNLOAD_ABANDONED_MS, 'no preparation in progress is taken for an abandoned one'],
  [
    LOAD_SUSPEND_RATIO,
    LOAD_REFUSE_RATIO - LOAD_HYSTERESIS_RATIO,
    'partials stay away while sessions are refused',
  ],
  [LOAD_REFUSE_RATIO, LOAD_SHED_RATIO, 'nobody is shed to make room for somebody new'],
  [LOAD_SHED_RATIO, 1, 'something is left for those who speak'],
  [
    LOAD_SAMPLE_INTERVAL_MS * LOAD_WINDOW_COUNT,
    QUIET_MIN_MS,
    'load is known before a session counts as quiet',
  ],
  [PARTIAL_SOURCE_SHARE, PARTIAL_SLOT_SHARE, 'one utterance does not take the share of all'],
  [PARTIAL_COST_INTERVAL_MAX_MS, PARTIAL_INTERVAL_MAX_MS, 'what is long is not taken for load'],
  [
    JOB_DEATH_MAX_COUNT + 1,
    DEVICE_DEATH_MAX_COUNT,
    'one poisonous utterance, first in a batch and then alone, does not cost a device',
  ],
  [DEVICE_DEATH_MAX_COUNT, RESTART_INTENSITY_COUNT + 1, 'a slot falls back before it is parked'],
  [DRAIN_SPEECH_MAX_MS + FINAL_OBJECTIVE_MS, DRAIN_MAX_MS, 'a drain leaves time for the finals'],
  [HTTP_HEADERS_MAX_MS, HTTP_EXCHANGE_MAX_MS, 'the headers come first'],
  [RECORDED_MAX_MS, HTTP_EXCHANGE_MAX_MS, 'a file that takes too long is answered, not cut off'],
  [RECORDED_PIECE_BYTES, PCM_MESSAGE_MAX_BYTES, 'a piece is a message'],
  [PACED_OWED_MAX_COUNT, PENDING_DELIVERY_MAX_COUNT, 'what one piece can add does not end its session'],
  [FINAL_OBJECTIVE_MS, RECORDED_FINAL_OBJECTIVE_MS, 'finals of live audio come first'],
  [RECORDED_FINAL_OBJECTIVE_MS, RECORDED_MAX_MS, 'a file comes to its end beside live audio'],
  [INPUT_COALESCE_MS, PACED_RETRY_MS, 'what was taken has been sent when more is offered'],
  [CLIENT_SECRET_MAX_SECONDS * 1_000, TOKEN_LIFE_MAX_MS, 'a key for a browser is a token'],
  [HTTP_BODY_MAX_BYTES, HTTP_BODIES_MAX_BYTES, 'one request cannot take all the room'],
  [TRANSPORT_MESSAGE_MAX_BYTES, SEND_BUFFER_MAX_BYTES, 'what can be received can be sent'],
  [
    STOP_ASK_MAX_MS + STOP_TERM_MAX_MS + STOP_KILL_MAX_MS + DISK_WAIT_MAX_MS,
    GATEWAY_END_MAX_MS,
    'a gateway can end its workers and write what is known of them',
  ],
  [
    OTLP_REQUEST_MAX_MS + DISK_WAIT_MAX_MS,
    GATEWAY_END_MAX_MS,
    'the last spans are sent while the workers end, before what is known of those is written',
  ],
  [HANDSHAKE_MAX_MS, CROWDED_RETRY_AFTER_SECONDS * 1_000, 'who is told to come back finds room'],
  [CLOSE_MAX_MS, DRAIN_MAX_MS, 'the last connections have gone when a drain ends'],
  [KEYS_MAX_COUNT * 500, KEYS_FILE_MAX_BYTES, 'all keys fit the file'],
  [KEYS_POLL_INTERVAL_MS, HANDSHAKE_MAX_MS, 'a revoked key opens no session that waits for its token'],
  [DRAIN_MAX_MS, SESSION_STOP_MAX_MS, 'a drain is not cut short by the bound on a stop'],
  [
    RESTART_INTENSITY_WINDOW_MS * 2,
    SESSION_STOP_MAX_MS,
    'parked workers come back before a stop is given up',
  ],
  [FINAL_OBJECTIVE_MS, PARTIAL_OBJECTIVE_MS, 'a final is waited for, a partial is looked at'],
  [OTLP_BATCH_MAX_COUNT, OTLP_QUEUE_MAX_COUNT, 'a slow collector costs no spans at first'],
  [GPU_PROBE_MAX_MS, GPU_PROBE_INTERVAL_MS, 'one look at the GPUs at a time'],
  [ADMIN_HEADERS_MAX_MS, ADMIN_REQUEST_MAX_MS, 'the headers are part of the request'],
  [HEARTBEAT_MAX_MS, GATEWAY_SILENCE_MAX_MS, 'a worker is given up before its gateway is'],
  [HEARTBEAT_INTERVAL_MS * 2, HEARTBEAT_MAX_MS, 'one late heartbeat does not kill a worker'],
  [POISON_HEAD_MS, UTTERANCE_MIN_MS, 'most utterances are longer than what they are known by'],
  [JOB_DEATH_MAX_COUNT, JOB_DEATH_EXCUSED_MAX_COUNT, 'an excuse gives more tries'],
  [
    RECORDED_FINAL_OBJECTIVE_MS + (JOB_DEATH_EXCUSED_MAX_COUNT - 1) * JOB_DEATH_SETBACK_MS,
    FINAL_WAIT_MAX_MS,
    'on its last try a final goes before those that come when it is given up',
  ],
  [BATCH_OBJECTIVE_MS * 2, FINAL_OBJECTIVE_MS, 'a final that waits for a batch is in time'],
  [BATCH_OBJECTIVE_MS, JOB_DEADLINE_MIN_MS, 'a batch is no hang'],
  [BATCH_START_COUNT, BATCH_MAX_COUNT, 'a device can show that it takes more'],
  [BATCH_MAX_COUNT, BATCH_READ_TOKENS_MAX_COUNT, 'each row can read its start token'],
  [BATCH_LENGTH_STEP_MS, RECOGNISER_PCM_MAX_MS, 'there are several lengths'],
  [SUSPECT_AGE_MAX_MS, QUARANTINE_AGE_MAX_MS, 'a suspicion ends before a verdict'],
  [CLOCK_BACK_MAX_MS, QUARANTINE_AGE_MAX_MS, 'no poison is kept for more than twice its time'],
  [QUARANTINE_MAX_COUNT, POISON_MEMORY_MAX_COUNT, 'all that is on disk fits into memory'],
  [RECOGNISER_PCM_MAX_MS * 32, QUARANTINE_MAX_BYTES, 'the longest utterance fits the quarantine'],
  [STDERR_TAIL_MAX_BYTES, CRASH_REPORTS_MAX_BYTES, 'a report fits its folder'],
  [CRASH_LOG_STDERR_MAX_BYTES, STDERR_TAIL_MAX_BYTES, 'a log line holds less than the report'],
  [LOAD_MAX_MS + LOAD_FINISH_MAX_MS, SESSION_MAX_MS, 'no session of a load test is too long for the server'],
  [
    SESSION_STOP_MAX_MS,
    LOAD_FINISH_MAX_MS,
    'the server says what it could not do before a load test gives up',
  ],
  [FINAL_WAIT_MAX_MS, LOAD_FINISH_MAX_MS, 'a final that was given up comes before a load test gives up'],
  [
    LOAD_SENTENCES_MIN_COUNT,
    LOAD_SENTENCES_MAX_COUNT,
    'there are as many sentences as are wanted at the least',
  ],
  [LOAD_BACKLOG_MAX_MS, AHEAD_OF_REALTIME_MAX_MS, 'a load test that reconnects is not throttled'],
  [
    LOAD_SAMPLE_INTERVAL_MS * LOAD_WINDOW_COUNT,
    LOAD_TRIAL_PAUSE_MS,
    'a trial does not find the load of the one before',
  ],
];
for (const [lower, higher, why] of RELATIONS) assert(lower < higher, why);
