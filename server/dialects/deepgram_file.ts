/** The answer to a recorded file that is sent to `/v1/listen`. */
import { createHash, randomUUID } from 'node:crypto';
import { ProtocolError } from '../../pipeline/errors.ts';
import { alternativeOf, metadataOf, seconds, type Alternative } from './deepgram_messages.ts';
import { readParameters } from './deepgram_parameters.ts';
import type { DialectParts, PostedRequest } from './dialect.ts';
import { hearRecording, type HeardRecording } from './recording.ts';
import type { HttpAnswer } from '../transport/transport.ts';

/** Transcribes the body of a request. Throws as a `Responder` does. */
export async function answerFile(request: PostedRequest, parts: DialectParts): Promise<HttpAnswer> {
  const { query, headers, body, ended } = request;
  if (headers.get('content-type')?.startsWith('application/json') === true) {
    throw new ProtocolError(
      'bad_settings',
      'send the file itself: this server fetches nothing from elsewhere',
    );
  }
  const parameters = readParameters(query, parts.defaults);
  if (parameters.sessionCount > 1) {
    throw new ProtocolError(
      'bad_settings',
      'multichannel: expected over a WebSocket only, or leave it out to mix down',
    );
  }
  const { format, endpointing, isFormatted, hasUtterances, channelCount } = parameters;
  const createdAt = parts.now();
  const heard = await hearRecording(
    { dialect: 'deepgram', bytes: body, ended, format, endpointing, words: true },
    parts,
  );
  const origin = { requestId: randomUUID(), model: parts.defaults.model };
  const sha256 = createHash('sha256').update(body).digest('hex');
  const answer = {
    metadata: metadataOf(origin, { sha256, createdAt, durationMs: heard.durationMs, channelCount }),
    results: {
      channels: [{ alternatives: [wholeOf(heard, isFormatted)] }],
      ...(hasUtterances ? { utterances: utterancesOf(heard, isFormatted) } : {}),
    },
  };
  const own = { 'Content-Type': 'application/json', 'dg-request-id': origin.requestId };
  return { status: 200, headers: own, body: `${JSON.stringify(answer)}\n` };
}

function wholeOf({ finals }: HeardRecording, isFormatted: boolean): Alternative {
  const parts = finals.map((final) => alternativeOf(final, isFormatted));
  const words = parts.flatMap((part) => part.words);
  const transcript = parts.map((part) => part.transcript).join(' ');
  return { transcript, confidence: words.length === 0 ? 0 : 1, words };
}

function utterancesOf({ finals }: HeardRecording, isFormatted: boolean): readonly object[] {
  return finals.map((final) => ({
    start: seconds(final.startAudioMs),
    end: seconds(final.endAudioMs),
    ...{ channel: 0, id: randomUUID() },
    ...alternativeOf(final, isFormatted),
  }));
}
