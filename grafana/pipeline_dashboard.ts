/** Where the time goes: one row per stage, in the order of the data. */
import { PANEL_SCOPE, type DashboardSpec } from './dashboard.ts';
import { FINAL_OBJECTIVE_SECONDS, PARTIAL_OBJECTIVE_SECONDS } from './objectives.ts';
import { Queries, ratio } from './promql.ts';

const query = new Queries(PANEL_SCOPE);

export const PIPELINE: DashboardSpec = {
  uid: 'earwitness-pipeline',
  title: 'Earwitness / Pipeline',
  description:
    'One row per stage, in the order of the data. Read from the top: the first bad row is the cause.',
  rows: [
    {
      title: '1 Socket',
      panels: [
        {
          kind: 'lines',
          title: 'Audio received',
          shows: 'Bytes of audio per second.',
          good: 'about 3 kB/s for each Opus stream, 32 kB/s for 16 kHz PCM.',
          otherwise: 'clients that send PCM cost ten times the network.',
          unit: 'bytesPerSecond',
          queries: [{ expr: query.perSecond('received_bytes_total'), legend: 'received' }],
        },
        {
          kind: 'lines',
          title: 'Waiting for clients to read',
          shows: 'Bytes in send buffers, of all connections.',
          good: 'zero.',
          otherwise: 'clients on poor networks, or that do not read: they are closed with 4413 in the end.',
          unit: 'bytes',
          queries: [{ expr: query.now('send_buffered_bytes'), legend: 'buffered' }],
        },
        {
          kind: 'stack',
          title: 'Bounds of the transport',
          shows: 'Connections and requests per second that broke a bound.',
          good: 'none but now and then silence: phones that left the network.',
          otherwise: 'somebody tries, or a client is wrong: see the log.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('transport_limits_total', { by: ['limit'] }), legend: '{{limit}}' },
          ],
        },
      ],
    },
    {
      title: '2 Audio path',
      panels: [
        {
          kind: 'lines',
          title: 'Message → decoded and judged',
          shows: 'From a message coming in to its audio worker having decoded and judged it.',
          good: 'p95 below 50 ms.',
          otherwise: 'audio workers are full: raise `audioWorkers`, or the machine has no core for them.',
          unit: 'seconds',
          queries: [0.5, 0.95].map((share) => ({
            expr: query.quantile(share, 'audio_path_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: 0.2,
        },
        {
          kind: 'lines',
          title: 'Kept for a replay',
          shows: 'Input that is kept until its audio worker has taken a checkpoint.',
          good: 'about 8 kB for each Opus stream, 70 kB for PCM.',
          otherwise: 'it grows without end: audio workers do not keep up.',
          unit: 'bytes',
          queries: [{ expr: query.now('audio_kept_bytes'), legend: 'kept' }],
        },
        {
          kind: 'lines',
          title: 'Sessions replayed',
          shows: 'Sessions per second that were rebuilt in another audio worker.',
          good: 'zero.',
          otherwise: 'audio workers die: open Workers and faults.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('replays_total'), legend: 'replays' }],
          next: 'earwitness-workers',
        },
      ],
    },
    {
      title: '3 Decoder',
      panels: [
        {
          kind: 'lines',
          title: 'Decoding, per round',
          shows: 'Time to decode the next frame of every session of an audio worker.',
          good: 'below 8 ms: a round has to be over before the next frames come, after 32 ms.',
          otherwise: 'more audio workers.',
          unit: 'seconds',
          queries: [0.5, 0.99].map((share) => ({
            expr: query.quantile(share, 'audio_round_seconds', { where: { stage: 'decode' } }),
            legend: `p${share * 100}`,
          })),
          ceiling: 0.016,
        },
        {
          kind: 'stack',
          title: 'Messages',
          shows: 'Audio messages per second by what came of them.',
          good: 'decoded; a few ignored.',
          otherwise: 'concealed: packets are damaged, or not in the encoding they claim to have.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('packets_total', { by: ['outcome'] }), legend: '{{outcome}}' }],
        },
        {
          kind: 'lines',
          title: 'Codec trapped, audio condemned',
          shows: 'Traps of the Opus codec and inputs that ended audio workers, per second.',
          good: 'zero.',
          otherwise: 'keep the log: it has the hash of the input.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('opus_traps_total'), legend: 'traps' },
            {
              expr: query.perSecond('audio_poisons_total', { by: ['outcome'] }),
              legend: 'poison {{outcome}}',
            },
          ],
        },
      ],
    },
    {
      title: '4 Voice activity and segmentation',
      panels: [
        {
          kind: 'lines',
          title: 'Voice activity, per round',
          shows: 'Time to judge one frame of every session of an audio worker.',
          good: 'below 8 ms; 32 sessions take 2 to 3 ms.',
          otherwise: 'more audio workers.',
          unit: 'seconds',
          queries: [0.5, 0.99].map((share) => ({
            expr: query.quantile(share, 'audio_round_seconds', { where: { stage: 'vad' } }),
            legend: `p${share * 100}`,
          })),
          ceiling: 0.016,
        },
        {
          kind: 'lines',
          title: 'Frames per round',
          shows: 'Sessions that were judged together: the more, the cheaper each of them.',
          good: 'grows with the sessions.',
          otherwise: 'near 1 with many sessions: too many audio workers.',
          unit: 'count',
          queries: [
            {
              expr: ratio(query.perSecond('vad_frames_total'), query.perSecond('vad_runs_total')),
              legend: 'frames',
            },
          ],
        },
        {
          kind: 'stack',
          title: 'Utterances by what ended them',
          shows: 'Utterances per second by what ended them.',
          good: 'mostly silence.',
          otherwise: 'split: somebody speaks without a pause; audioStopped: streams break off.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('utterance_ends_total', { by: ['reason'] }), legend: '{{reason}}' },
          ],
        },
      ],
    },
    {
      title: '5 Scheduler',
      panels: [
        {
          kind: 'lines',
          title: 'Wait for a slot, p95',
          shows: 'Time from a job being ready to its start.',
          good: 'finals and early finals below 0.1 s; partials wait first.',
          otherwise: 'more inference workers, if there are cores for them; else fewer sessions.',
          unit: 'seconds',
          queries: [
            { expr: query.quantile(0.95, 'queue_wait_seconds', { by: ['kind'] }), legend: '{{kind}}' },
          ],
          ceiling: FINAL_OBJECTIVE_SECONDS,
        },
        {
          kind: 'lines',
          title: 'Queue',
          shows: 'Jobs that wait, and whether partials are suspended.',
          good: 'next to none.',
          otherwise: 'finals in the queue: the server is full, see Headroom in the overview.',
          unit: 'count',
          queries: [
            { expr: query.now('queue_depth', { by: ['kind'] }), legend: '{{kind}}' },
            { expr: query.now('partials_suspended'), legend: 'instances without partials' },
          ],
        },
        {
          kind: 'stack',
          title: 'Early finals',
          shows: 'Finals computed in a pause, before its end was decided.',
          good: 'more used than wasted: each that is used saves the whole wait.',
          otherwise: 'mostly wasted: people pause a lot; it costs slots, and nothing else.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('early_finals_total', { by: ['outcome'] }), legend: '{{outcome}}' },
          ],
        },
      ],
    },
    {
      title: '6 Inference',
      panels: [
        {
          kind: 'lines',
          title: 'Time on a slot, p95',
          shows: 'Time a job held its slot.',
          good: 'below 0.3 s.',
          otherwise:
            'the machine is slower than usual: other load, a CPU that was throttled, a slowed worker.',
          unit: 'seconds',
          queries: [
            { expr: query.quantile(0.95, 'inference_seconds', { by: ['kind'] }), legend: '{{kind}}' },
          ],
          ceiling: FINAL_OBJECTIVE_SECONDS,
        },
        {
          kind: 'stack',
          title: 'Slots at work',
          shows: 'Time in encoder and decoder of the model, per second: slots that work at the same time.',
          good: 'well below the number of slots.',
          otherwise: 'near it: the server is full.',
          unit: 'count',
          queries: [
            { expr: query.perSecond('model_seconds_total', { by: ['phase'] }), legend: '{{phase}}' },
            { expr: query.now('slots'), legend: 'slots there are' },
          ],
        },
        {
          kind: 'lines',
          title: 'What is used again',
          shows:
            'Share of draft tokens that the decoder took over and its runs for each job; share of audio that was not encoded anew.',
          good: 'most are taken over; a handful of runs for each job; a fifth of the audio or more, most where utterances are long.',
          otherwise:
            'few tokens are: hypotheses change a lot, as with noise or another language than the model’s. Little audio is: there is more speech at a time than a worker keeps, or an accelerator, which keeps none.',
          unit: 'count',
          queries: [
            {
              expr: ratio(
                query.perSecond('draft_tokens_total', { where: { outcome: 'accepted' } }),
                query.perSecond('draft_tokens_total'),
              ),
              legend: 'taken over',
            },
            {
              expr: ratio(query.perSecond('decoder_steps_total'), query.observed('inference_seconds')),
              legend: 'decoder runs for each job',
            },
            {
              expr: ratio(
                query.perSecond('encoder_audio_seconds_total', { where: { outcome: 'reused' } }),
                query.perSecond('encoder_audio_seconds_total'),
              ),
              legend: 'audio not encoded anew',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Real-time factor of finals',
          shows: 'Time on the slot as a share of the duration of the audio.',
          good: 'p95 below 0.2 on a CPU.',
          otherwise: 'see the panel on the left.',
          unit: 'share',
          queries: [0.5, 0.95].map((share) => ({
            expr: query.quantile(share, 'real_time_factor'),
            legend: `p${share * 100}`,
          })),
        },
      ],
    },
    {
      title: '7 Text',
      panels: [
        {
          kind: 'stack',
          title: 'Texts withheld',
          shows: 'Texts per second that the audio can hardly have held.',
          good: 'few; they are what keeps invented words out.',
          otherwise: 'many: streams of noise, or a language the model does not know.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('suppressed_texts_total', { by: ['reason'] }), legend: '{{reason}}' },
          ],
        },
        {
          kind: 'stack',
          title: 'Notices',
          shows: 'What clients were told, per second.',
          good: 'none.',
          otherwise: 'each code names its cause; utterance_failed is a lost utterance.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('notices_total', { by: ['code'] }), legend: '{{code}}' }],
        },
        {
          kind: 'lines',
          title: 'Results for nobody',
          shows: 'Results per second for sessions that had gone.',
          good: 'few: clients that leave in the middle of a sentence.',
          otherwise: 'clients that do not send `stop`.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('stale_results_total'), legend: 'stale' }],
        },
      ],
    },
    {
      title: '8 Out',
      panels: [
        {
          kind: 'lines',
          title: 'End of utterance → final',
          shows: 'All stages together.',
          good: `p95 below ${FINAL_OBJECTIVE_SECONDS} s.`,
          otherwise: 'a row above is bad.',
          unit: 'seconds',
          queries: [0.5, 0.95, 0.99].map((share) => ({
            expr: query.quantile(share, 'final_latency_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: FINAL_OBJECTIVE_SECONDS,
        },
        {
          kind: 'lines',
          title: 'Age of partials',
          shows: 'Age of the newest audio in a partial when it is sent.',
          good: `p95 below ${PARTIAL_OBJECTIVE_SECONDS} s.`,
          otherwise: 'the scheduler has better things to do: see row 5.',
          unit: 'seconds',
          queries: [0.5, 0.95].map((share) => ({
            expr: query.quantile(share, 'partial_latency_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: PARTIAL_OBJECTIVE_SECONDS,
        },
        {
          kind: 'lines',
          title: 'Partials left out',
          shows: 'Partials per second that were not sent because a client reads slowly.',
          good: 'zero.',
          otherwise: 'see Waiting for clients to read, in row 1.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('partials_dropped_total'), legend: 'left out' }],
        },
      ],
    },
  ],
};
