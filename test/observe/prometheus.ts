/** A real Prometheus for tests: it scrapes what it is told to, in a folder of its own, on a free port. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePort } from '../chaos/free_port.ts';

/** Why tests that need Prometheus cannot be run here; false if they can. */
export function missingPrometheus(): string | false {
  const isThere = ['prometheus', 'promtool'].every((name) => spawnSync(name, ['--version']).status === 0);
  return isThere ? false : 'prometheus and promtool are not installed (Debian: apt-get install prometheus)';
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  /** NaN where the query gave no number. */
  readonly value: number;
}

/** One series over time: pairs of Unix time in seconds and a value. */
export interface Range {
  readonly metric: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [atSeconds: number, value: number])[];
}

export interface RuleHealth {
  readonly name: string;
  readonly health: string;
  readonly lastError?: string;
}

const START_MAX_MS = 15_000;

export class RealPrometheus {
  readonly url: string;
  readonly folder: string;
  readonly #child: ChildProcess;

  private constructor(url: string, folder: string, child: ChildProcess) {
    this.url = url;
    this.folder = folder;
    this.#child = child;
  }

  /** Scrapes `targets` (`host:port`) as the job `earwitness` and evaluates the rules, both at this interval. */
  static async start(options: {
    readonly targets: readonly string[];
    /** Contents of rule files. */
    readonly rules: readonly string[];
    readonly intervalMs: number;
  }): Promise<RealPrometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-prometheus-'));
    const ruleFiles = options.rules.map((_, i) => join(folder, `rules_${i}.yaml`));
    for (const [i, path] of ruleFiles.entries()) await writeFile(path, options.rules[i] ?? '');
    const interval = `${options.intervalMs}ms`;
    const config = {
      global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
      rule_files: ruleFiles,
      scrape_configs: [{ job_name: 'earwitness', static_configs: [{ targets: options.targets }] }],
    };
    const configPath = join(folder, 'prometheus.yaml');
    await writeFile(configPath, stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const args = ['--config.file', configPath, '--storage.tsdb.path', join(folder, 'data')];
    const child = spawn('prometheus', [...args, '--web.listen-address', address, '--log.level', 'error'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const prometheus = new RealPrometheus(`http://${address}`, folder, child);
    await prometheus.#ready();
    return prometheus;
  }

  async #ready(): Promise<void> {
    const deadlineMs = performance.now() + START_MAX_MS;
    while (performance.now() < deadlineMs) {
      const answer = await fetch(`${this.url}/-/ready`).catch(() => undefined);
      if (answer?.ok === true) return;
      await pause(100);
    }
    await this.close();
    throw new Error('Prometheus was not ready in time');
  }

  /** Rejects with what Prometheus says of a query that it does not understand. */
  async query(expr: string): Promise<readonly Sample[]> {
    const result = (await this.#ask('query', { query: expr })) as {
      readonly result: readonly {
        readonly metric: Sample['metric'];
        readonly value: readonly [number, string];
      }[];
    };
    return result.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async queryRange(
    expr: string,
    range: { readonly fromSeconds: number; readonly toSeconds: number; readonly stepSeconds: number },
  ): Promise<readonly Range[]> {
    const { fromSeconds, toSeconds, stepSeconds } = range;
    const times = { start: String(fromSeconds), end: String(toSeconds), step: String(stepSeconds) };
    const result = (await this.#ask('query_range', { query: expr, ...times })) as {
      readonly result: readonly {
        readonly metric: Sample['metric'];
        readonly values: readonly (readonly [number, string])[];
      }[];
    };
    return result.result.map(({ metric, values }) => ({
      metric,
      points: values.map(([at, value]) => [at, Number(value)] as const),
    }));
  }

  /** Names of the alerts that fire now. */
  async firing(): Promise<ReadonlySet<string>> {
    const samples = await this.query('ALERTS{alertstate="firing"}');
    return new Set(samples.map(({ metric }) => metric['alertname'] ?? ''));
  }

  async ruleHealth(): Promise<readonly RuleHealth[]> {
    const { groups } = (await this.#ask('rules', {})) as {
      readonly groups: readonly { readonly rules: readonly RuleHealth[] }[];
    };
    return groups.flatMap(({ rules }) => rules);
  }

  async close(): Promise<void> {
    const exited = once(this.#child, 'exit');
    if (this.#child.kill('SIGKILL')) await exited;
    await rm(this.folder, { recursive: true, force: true });
  }

  async #ask(path: string, parameters: Readonly<Record<string, string>>): Promise<unknown> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const body = (await answer.json()) as { readonly data?: unknown; readonly error?: string };
    if (!answer.ok) throw new Error(`${body.error ?? answer.statusText}: ${parameters['query'] ?? path}`);
    return body.data;
  }
}
