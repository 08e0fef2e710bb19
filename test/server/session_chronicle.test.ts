import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { OverloadError } from '../../pipeline/errors.ts';
import {
  OTLP_FLUSH_INTERVAL_MS,
  OTLP_QUEUE_MAX_COUNT,
  OTLP_REQUEST_MAX_MS,
  TRACE_ENDED_MAX_COUNT,
} from '../../pipeline/limits.ts';
import type { MarkKind, TraceMark } from '../../pipeline/session_trace.ts';
import { createAdminServer } from '../../server/admin.ts';
import { OtlpExporter } from '../../server/records/otlp_exporter.ts';
import { SessionChronicle, type TraceReport } from '../../server/records/session_chronicle.ts';
import { sessionSpan, utteranceSpans, type Span } from '../../server/records/session_spans.ts';
import { traceSession } from '../../server/commands/trace_command.ts';
import { renderTrace } from '../../server/commands/trace_view.ts';
import { timelinesOf } from '../../server/records/utterance_timeline.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { SETTINGS } from '../support/session_setting.ts';

const OPENED_AT = '2026-01-02T03:04:05.000Z';
const SESSION_ID = '0f0e0d0c-0b0a-4908-8706-050403020100';
const FINAL = {
  type: 'final',
  utteranceId: 1,
  text: 'SPEECH',
  startAudioMs: 0,
  endAudioMs: 1_000,
  words: [],
  ackedAudioMs: 1_000,
} as const;

function chronicle(): { readonly clock: FakeClock; readonly log: KeptLog; readonly kept: SessionChronicle } {
  const [clock, log] = [new FakeClock(), new KeptLog()];
  return { clock, log, kept: new SessionChronicle({ clock, log, now: () => new Date(OPENED_AT) }) };
}

const mark = (kind: MarkKind, atMs: number, valueMs = 0): TraceMark => ({
  kind,
  atMs,
  utteranceId: 1,
  valueMs,
});
/** Two partials, of which one fails; a final that loses its worker once. */
const MARKS: readonly TraceMark[] = [
  { kind: 'opened', atMs: 0, utteranceId: 0, valueMs: 0 },
  mark('speechStart', 500, 400),
  mark('partialStarted', 600),
  mark('partialDone', 680),
  mark('partialSent', 680, 30),
  mark('partialStarted', 1_100),
  mark('partialFailed', 1_150),
  mark('speechEnd', 2_000, 300),
  mark('finalQueued', 2_000),
  mark('finalStarted', 2_050),
  mark('finalStarted', 2_100),
  mark('finalDone', 2_200),
  mark('finalSent', 2_201, 201),
];
const REPORT: TraceReport = {
  ...{ sessionId: SESSION_ID, openedAt: OPENED_AT, finalCount: 1, forgottenCount: 0 },
  ...{ dialect: 'native', encoding: 'opus' },
  marks: MARKS,
};

void describe('session chronicle', () => {
  it('[LOG15] a session has one line at its end, with its id, outcome and duration, and never what was said', async () => {
    const { clock, log, kept } = chronicle();
    kept.begin('a', SETTINGS);
    kept.note('a', FINAL);
    await clock.advance(1_500);
    kept.end('a', 'failed', new OverloadError('shed', 'no room'));
    const facts = { outcome: 'failed', code: 'shed', durationMs: 1_500, finals: 1 };
    const kind = { dialect: 'native', encoding: 'pcm_s16le' };
    assert.deepEqual(
      log.lines.map(({ level, event }) => [level, event]),
      [
        ['debug', 'session opened'],
        ['info', 'session ended'],
      ],
    );
    assert.deepEqual(log.lines[1]?.fields, { sessionId: 'a', ...kind, ...facts });
    assert.doesNotMatch(JSON.stringify(log.lines), /SPEECH/);
  });

  it('[TRA4] traces of open sessions and of the latest that have ended can be had, and no others', () => {
    const { kept } = chronicle();
    kept.begin('open', SETTINGS);
    for (let i = 0; i <= TRACE_ENDED_MAX_COUNT; i++) {
      kept.begin(`ended ${i}`, SETTINGS);
      kept.end(`ended ${i}`, 'completed');
    }
    assert.equal(kept.sessions().length, TRACE_ENDED_MAX_COUNT + 1);
    assert.equal(kept.sessions()[0]?.sessionId, 'open');
    assert.equal(kept.report('ended 0'), undefined);
    assert.equal(kept.report(`ended ${TRACE_ENDED_MAX_COUNT}`)?.outcome, 'completed');
    assert.equal(kept.report('open')?.marks[0]?.kind, 'opened');
  });

  it('[TRA5] a time line has the speech, every run with its wait and its end, and what was sent when', () => {
    const [timeline] = timelinesOf(MARKS);
    assert.deepEqual(
      [timeline?.speechAtMs, timeline?.speechEndAtMs, timeline?.endDecidedAtMs],
      [100, 1_700, 2_000],
    );
    assert.deepEqual(timeline?.runs, [
      { kind: 'partial', queuedAtMs: 600, startedAtMs: 600, endedAtMs: 680, outcome: 'done' },
      { kind: 'partial', queuedAtMs: 1_100, startedAtMs: 1_100, endedAtMs: 1_150, outcome: 'failed' },
      { kind: 'final', queuedAtMs: 2_000, startedAtMs: 2_050, endedAtMs: 2_100, outcome: 'failed' },
      { kind: 'final', queuedAtMs: 2_100, startedAtMs: 2_100, endedAtMs: 2_200, outcome: 'done' },
    ]);
    assert.equal(timeline.finalSentAtMs, 2_201);
  });

  it('[TRA6] the command lists sessions, shows one as bars by the beginning of its id, and says what it cannot find', async (test) => {
    const adminUrl = await adminWith(test, [REPORT]);
    const run = async (id: string | undefined, json = false) => {
      const stdout = new PassThrough();
      const status = await traceSession(id, { adminUrl, json, stdout });
      return { status, out: String(stdout.read() ?? '') };
    };
    assert.match((await run(undefined)).out, new RegExp(`^SESSION.*\n${SESSION_ID} .* opus +1 +open\n$`));
    const shown = await run('0f0e');
    assert.equal(shown.out, renderTrace(REPORT));
    assert.match(shown.out, /^utterance 1, from 0\.100 s to 2\.201 s$/m);
    assert.match(shown.out, /^ {2}final run +░?▒+ +waited 50 ms, failed after 50 ms$/m);
    assert.match(shown.out, /^ {2}final +◆ +sent 201 ms after the end was decided$/m);
    assert.deepEqual(JSON.parse((await run('0f0e', true)).out), REPORT);
    await assert.rejects(run('ffff'), /no session begins with ffff/);
  });

  it('[TRA6] a server that cannot be reached is named with the cause', async () => {
    const nowhere = new PassThrough();
    const options = { adminUrl: 'http://127.0.0.1:1', json: false, stdout: nowhere };
    await assert.rejects(
      traceSession(undefined, options),
      /no trace could be had from http:\/\/127\.0\.0\.1:1: /,
    );
  });

  it('[TRA7] spans form one tree under the session, whose id is the trace; failed runs are errors', () => {
    const [utterance, ...parts] = utteranceSpans(REPORT, 1);
    const session = sessionSpan(REPORT);
    assert.equal(session.traceId, SESSION_ID.replaceAll('-', ''));
    assert.equal(utterance?.parentSpanId, session.spanId);
    const dialect = { key: 'earwitness.dialect', value: { stringValue: 'native' } };
    assert.deepEqual(
      session.attributes.find(({ key }) => key === dialect.key),
      dialect,
    );
    for (const part of parts) assert.equal(part.parentSpanId, utterance.spanId);
    assert.deepEqual(
      parts.map(({ name, status }) => [name, status?.code]),
      [
        ...[
          ['speech', undefined],
          ['inference', undefined],
          ['inference', 2],
          ['queue', undefined],
        ],
        ...[
          ['inference', 2],
          ['inference', undefined],
        ],
      ],
    );
    assert.equal(utterance.startTimeUnixNano, `${Date.parse(OPENED_AT) + 100}000000`);
    for (const { traceId, spanId } of [session, utterance, ...parts]) {
      assert.match(traceId, /^[0-9a-f]{32}$/);
      assert.match(spanId, /^[0-9a-f]{16}$/);
    }
  });

  it('[TRA8] spans are sent together, as OTLP has them', async (test) => {
    const collector = await collect(test, 200);
    const { exporter, clock, telemetry } = exporterTo(collector.url);
    exporter.utteranceEnded(REPORT, 1);
    exporter.sessionEnded(REPORT);
    await clock.advance(OTLP_FLUSH_INTERVAL_MS);
    await exporter.close();
    const [request] = collector.requests;
    assert.deepEqual([request?.path, request?.type], ['/v1/traces', 'application/json']);
    const [resource] = (request?.body as OtlpRequest).resourceSpans;
    assert.equal(resource?.resource.attributes[0]?.value.stringValue, 'earwitness');
    assert.equal(resource.scopeSpans[0]?.spans.length, 8);
    assert.equal(telemetry.total('otlp_spans_total', { outcome: 'sent' }), 8);
  });

  it('[TRA9] a collector that refuses or is away costs spans that are counted, a bounded queue, and nothing else', async (test) => {
    const collector = await collect(test, 503);
    const refused = exporterTo(collector.url);
    refused.exporter.sessionEnded(REPORT);
    await refused.exporter.close();
    assert.equal(refused.telemetry.total('otlp_spans_total', { outcome: 'dropped' }), 1);
    assert.equal(refused.log.lines[0]?.event, 'spans could not be sent');
    const away = exporterTo('http://127.0.0.1:1');
    for (let i = 0; i < OTLP_QUEUE_MAX_COUNT + 5; i++) away.exporter.sessionEnded(REPORT);
    assert.equal(away.telemetry.total('otlp_spans_total', { outcome: 'dropped' }), 5);
    await away.exporter.close();
    assert.equal(away.telemetry.total('otlp_spans_total', { outcome: 'dropped' }), OTLP_QUEUE_MAX_COUNT + 5);
  });

  it('[TRA10] a collector that does not answer holds up the end for one request at most', async (test) => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    test.after(() => {
      silent.close();
      silent.closeAllConnections();
    });
    const { port } = silent.address() as AddressInfo;
    const { exporter, clock, telemetry } = exporterTo(`http://127.0.0.1:${port}`);
    for (let i = 0; i < OTLP_QUEUE_MAX_COUNT; i++) exporter.sessionEnded(REPORT);
    await clock.advance(OTLP_FLUSH_INTERVAL_MS);
    const startedAtMs = performance.now();
    const closed = exporter.close();
    await clock.advance(OTLP_REQUEST_MAX_MS);
    await closed;
    assert.ok(performance.now() - startedAtMs < OTLP_REQUEST_MAX_MS / 2);
    assert.equal(telemetry.total('otlp_spans_total', { outcome: 'dropped' }), OTLP_QUEUE_MAX_COUNT);
  });
});

interface OtlpRequest {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly value: { readonly stringValue: string } }[];
    };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

function exporterTo(endpoint: string) {
  const [clock, telemetry, log] = [new FakeClock(), new RecordingTelemetry(), new KeptLog()];
  return {
    clock,
    telemetry,
    log,
    exporter: new OtlpExporter({ endpoint, version: '0', clock, telemetry, log }),
  };
}

interface Received {
  readonly path: string | undefined;
  readonly type: string | undefined;
  readonly body: unknown;
}

/** A collector that keeps what it gets and answers with this status. */
async function collect(test: TestContext, status: number) {
  const requests: Received[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body: unknown = JSON.parse(Buffer.concat(parts).toString());
      requests.push({ path: request.url, type: request.headers['content-type'], body });
      response.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function adminWith(test: TestContext, reports: readonly TraceReport[]): Promise<string> {
  const admin = createAdminServer({
    ...{ host: '127.0.0.1', port: 0, workers: () => [], health: () => ({ status: 'ready', reasons: [] }) },
    metrics: { render: () => Promise.resolve({ contentType: '', body: '' }) },
    traces: {
      sessions: () =>
        reports.map(({ sessionId, openedAt, dialect, encoding, finalCount }) => ({
          sessionId,
          openedAt,
          dialect,
          encoding,
          finalCount,
        })),
      report: (id) => reports.find(({ sessionId }) => sessionId === id),
    },
    onError: (error) => assert.fail(String(error)),
  });
  test.after(() => admin.close());
  return `http://127.0.0.1:${(await admin.start()).port}`;
}
