/** METRICS.md: every metric, from the table in the code and from what the server exports beside it. */
import { METRICS, type MetricSpec } from '../pipeline/telemetry.ts';
import { createMetrics } from '../server/records/metrics.ts';

const HEAD = `# Metrics

Generated from \`pipeline/telemetry.ts\` by \`npm run observability\`; change it there. All of them begin with
\`earwitness_\`. Seconds and bytes are the only units. No label is unbounded, and none names a session or a person.
Every series is there from the start, at 0, but those marked _on demand_, which appear when there is something to tell.
`;

/** The document, as Prettier would have it. */
export async function renderMetricReference(): Promise<string> {
  const own = Object.entries<MetricSpec>(METRICS).map(([name, spec]) => section(name, spec));
  return [HEAD, ...own, '## From Node and the build\n', await renderProcessMetrics()].join('\n');
}

function section(name: string, { kind, help, labels, buckets, isOnDemand }: MetricSpec): string {
  const lines = [`### \`${name}\``, '', `${kind}${isOnDemand === true ? ', _on demand_' : ''}. ${help}`];
  const facts = Object.entries(labels).map(([label, values]) => `- \`${label}\`: ${describeValues(values)}`);
  if (buckets !== undefined) facts.push(`- buckets up to: ${buckets.join(', ')}`);
  return `${[...lines, ...(facts.length > 0 ? ['', ...facts] : [])].join('\n')}\n`;
}

/** A long row of numbers by its ends. */
function describeValues(values: readonly string[]): string {
  const isRow = values.length > 4 && values.every((value, i) => value === String(i));
  return isRow ? `\`0\` to \`${values.length - 1}\`` : values.map((value) => `\`${value}\``).join(', ');
}

/** Those that are not in the table: read from an exposition, for the library decides what there is. */
async function renderProcessMetrics(): Promise<string> {
  const metrics = createMetrics({ version: '0', transport: 'ws', model: '', device: '' });
  const { body } = await metrics.render();
  const rows = [...body.matchAll(/^# HELP earwitness_(\S+) (.*)$/gm)]
    .filter(([, name = '']) => !(name in METRICS))
    .map(([, name = '', help = '']) => `- \`${name}\`: ${help.replace(/\.$/, '')}.`);
  return `${rows.sort().join('\n')}\n`;
}
