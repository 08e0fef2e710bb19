/** The data of panels, from the API of a Prometheus. */
import type { Panel } from './dashboard.ts';
import type { Line, Period } from './picture.ts';

/** Points of each line; as many as a picture has room for. */
const POINTS_COUNT = 120;
/** Window of rates, for lack of Grafana's own. */
const RATE_WINDOW_POINTS_COUNT = 8;

interface Matrix {
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly values: readonly (readonly [number, string])[];
    }[];
  };
}

/** What the panel's queries give over the period, of all instances. Throws what fetch throws. */
export async function fetchLines(url: string, panel: Panel, period: Period): Promise<readonly Line[]> {
  const stepSeconds = Math.max(1, Math.round((period.toSeconds - period.fromSeconds) / POINTS_COUNT));
  const answers = await Promise.all(
    panel.queries.map(async ({ expr, legend }) => {
      const query = expr
        .replaceAll('$__rate_interval', `${RATE_WINDOW_POINTS_COUNT * stepSeconds}s`)
        .replaceAll('$instance', '.*');
      const [start, end, step] = [period.fromSeconds, period.toSeconds, stepSeconds].map(String);
      const parameters = { query, start: start ?? '', end: end ?? '', step: step ?? '' };
      const answer = await fetch(`${url}/api/v1/query_range?${new URLSearchParams(parameters).toString()}`);
      if (!answer.ok) throw new Error(`Prometheus answered ${answer.status} to ${query}`);
      const { data } = (await answer.json()) as Matrix;
      return data.result.map(({ metric, values }) => ({
        name: legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ''),
        points: values.map(([at, value]) => [at, Number(value)] as const),
      }));
    }),
  );
  const lines = answers.flat();
  // What never happened would only fill the legend.
  const isAlive = ({ points }: Line): boolean => points.some(([, value]) => value > 0);
  return panel.kind === 'stack' || lines.length > 4 ? lines.filter(isAlive) : lines;
}
