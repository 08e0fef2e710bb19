/** What OpenAI's clients ask over HTTP: the transcript of a file, and a key for a browser. */
import { z } from 'zod';
import { ProtocolError } from '../../pipeline/errors.ts';
import {
  CLIENT_SECRET_MAX_SECONDS,
  CLIENT_SECRET_MIN_SECONDS,
  CLIENT_SECRET_SECONDS,
} from '../../pipeline/limits.ts';
import { EPHEMERAL_PREFIX } from '../access/credentials.ts';
import type { DialectParts, PostedRequest, RequestRefusal, Responder, TextAnswer } from './dialect.ts';
import { describeFaults, objectOf, oneOf, textOf, wholeNumber } from '../field_rules.ts';
import { initialSettings, sessionObject } from './openai_session.ts';
import { hearRecording, type HeardRecording } from './recording.ts';
import { checkLanguage } from './spoken_language.ts';
import { renderTranscript } from '../../client/transcript_format.ts';
import type { HttpAnswer } from '../transport/transport.ts';

const FORM = objectOf({
  file: z.instanceof(Blob, { error: 'expected a file' }),
  language: textOf(0, 35).optional(),
  response_format: oneOf(['json', 'text', 'srt', 'vtt', 'verbose_json']).default('json'),
  stream: oneOf(['false'], ': events come over a WebSocket').optional(),
  'timestamp_granularities[]': z.array(oneOf(['word', 'segment'])).default([]),
});
type Form = z.infer<typeof FORM>;

const SECRET = objectOf({
  expires_after: objectOf({
    seconds: wholeNumber(CLIENT_SECRET_MIN_SECONDS, CLIENT_SECRET_MAX_SECONDS).optional(),
  }).optional(),
});

/** What is answered to POST, by path. */
export function openaiPosts(parts: DialectParts): ReadonlyMap<string, Responder> {
  return new Map<string, Responder>([
    ['/v1/audio/transcriptions', (request) => answerFile(request, parts)],
    ['/v1/realtime/client_secrets', (request) => answerSecret(request, parts)],
  ]);
}

/** A refusal in OpenAI's form. */
export function refuseRequest({ status, error, headers }: RequestRefusal): TextAnswer {
  const code = status === 401 ? 'invalid_api_key' : error.code;
  const type = status >= 500 ? 'server_error' : 'invalid_request_error';
  const body = `${JSON.stringify({ error: { message: error.message, type, param: null, code } })}\n`;
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body };
}

async function answerFile(request: PostedRequest, parts: DialectParts): Promise<HttpAnswer> {
  const form = await readForm(request);
  const { model, silenceMs, maxUtteranceMs } = parts.defaults;
  if (form.language !== undefined && form.language !== '') checkLanguage(form.language, model);
  const hasWords = form['timestamp_granularities[]'].includes('word');
  const heard = await hearRecording(
    {
      dialect: 'openai',
      bytes: new Uint8Array(await form.file.arrayBuffer()),
      ended: request.ended,
      format: { encoding: 'auto', sampleRateHz: 16_000, channels: 1 },
      endpointing: { silenceMs, maxUtteranceMs },
      words: hasWords,
    },
    parts,
  );
  return rendered(heard, form);
}

function rendered(heard: HeardRecording, form: Form): HttpAnswer {
  const { durationMs, finals } = heard;
  const text = finals.map((final) => final.text).join(' ');
  switch (form.response_format) {
    case 'json':
      return json({ text, usage: { type: 'duration', seconds: Math.ceil(durationMs / 1_000) } });
    case 'verbose_json':
      return json(verboseOf(heard, { text, form }));
    case 'text':
      return plain(`${text}\n`);
    case 'srt':
    case 'vtt':
      return plain(renderTranscript({ file: '', durationMs, finals }, form.response_format));
  }
}

function verboseOf(
  { durationMs, finals }: HeardRecording,
  { text, form }: { readonly text: string; readonly form: Form },
): object {
  const segments = finals.map((final, id) => ({
    ...{ id, seek: 0, start: final.startAudioMs / 1_000, end: final.endAudioMs / 1_000, text: final.text },
    // The models say nothing of these; clients index them.
    ...{ tokens: [], temperature: 0, avg_logprob: 0, compression_ratio: 1, no_speech_prob: 0 },
  }));
  const words = finals.flatMap((final) =>
    final.words.map((word) => ({
      ...{ word: word.text, start: word.startAudioMs / 1_000, end: word.endAudioMs / 1_000 },
    })),
  );
  const granularities = form['timestamp_granularities[]'];
  const language = form.language ?? '';
  return {
    ...{ task: 'transcribe', language, duration: durationMs / 1_000, text },
    ...(granularities.length === 0 || granularities.includes('segment') ? { segments } : {}),
    ...(granularities.includes('word') ? { words } : {}),
  };
}

function json(answer: object): HttpAnswer {
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json' },
    body: `${JSON.stringify(answer)}\n`,
  };
}

function plain(body: string): HttpAnswer {
  return { status: 200, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body };
}

/** Reads `multipart/form-data`. Throws `ProtocolError` (`bad_settings`) that names every field that is wrong. */
async function readForm({ headers, body }: PostedRequest): Promise<Form> {
  const type = headers.get('content-type') ?? '';
  const wrong = new ProtocolError('bad_settings', 'send multipart/form-data with a `file`');
  if (!type.startsWith('multipart/form-data')) throw wrong;
  const answer = new Response(new Uint8Array(body), { headers: { 'Content-Type': type } });
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- for bodies of any size; this one is bounded, and here
  const form = await answer.formData().catch(() => {
    throw wrong;
  });
  const granularities = form.getAll('timestamp_granularities[]');
  return checked(FORM, {
    ...Object.fromEntries(form),
    'timestamp_granularities[]': granularities.length === 0 ? undefined : granularities,
  });
}

/** A token of the caller's key, in the form that clients expect of a key for a browser. */
async function answerSecret({ body, caller }: PostedRequest, parts: DialectParts): Promise<HttpAnswer> {
  const wanted = checked(SECRET, parseBody(body));
  const lifeSeconds = wanted.expires_after?.seconds ?? CLIENT_SECRET_SECONDS;
  const token = await parts.tokens.issueToken(caller, lifeSeconds * 1_000);
  const expires_at = Math.floor(parts.now().getTime() / 1_000) + lifeSeconds;
  const session = sessionObject(initialSettings(parts.defaults.model), {
    ...{ id: 'sess_default', expiresAtSeconds: expires_at, isBeta: false },
  });
  return json({ value: `${EPHEMERAL_PREFIX}${token}`, expires_at, session });
}

function parseBody(body: Uint8Array): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch (cause) {
    throw new ProtocolError('bad_message', 'the body must be one JSON object', { cause });
  }
}

function checked<T>(schema: z.ZodType<T>, fields: unknown): T {
  const read = schema.safeParse(fields);
  if (read.success) return read.data;
  throw new ProtocolError('bad_settings', describeFaults(read.error));
}
