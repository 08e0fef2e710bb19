import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { DockerfileParser, From, type Instruction } from 'dockerfile-ast';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import {
  DRAIN_MAX_MS,
  GATEWAY_END_MAX_MS,
  HTTP_BODY_MAX_BYTES,
  KEEP_ALIVE_INTERVAL_MS,
  KEEP_ALIVE_MISSED_COUNT,
  MEMORY_ROOM_MIN_BYTES,
} from '../../pipeline/limits.ts';
import { resolveConfig } from '../../server/config.ts';
import { fallbackTextOf, flagOf, SETTING_KEYS, variableOf } from '../../server/settings.ts';
import { at, DEPLOY, deployPaths, readDeploy, readYaml, ROOT } from './deploy_files.ts';

const STOP_MIN_SECONDS = (DRAIN_MAX_MS + GATEWAY_END_MAX_MS) / 1_000;

/** The configuration that these variables make. */
function configOf(
  env: Readonly<Record<string, string>>,
  processorCount = 2,
): ReturnType<typeof resolveConfig> {
  const machine = { processorCount, homeDir: '/home/nobody' };
  return resolveConfig({ ...machine, flags: {}, env, workingDir: '/', readFile: () => '' });
}

void describe('Dockerfile', () => {
  const dockerfile = DockerfileParser.parse(readDeploy('Dockerfile'));
  const instructions = dockerfile.getInstructions();
  const lastFrom = instructions.findLastIndex((instruction) => instruction instanceof From);
  const finalStage = instructions.slice(lastFrom);
  const named = (list: readonly Instruction[], keyword: string): string[] =>
    list.filter((one) => one.getKeyword() === keyword).map((one) => one.getArgumentsContent() ?? '');

  it('[DEP7] keeps the rules that linters have: a pinned base, no root, no shell as first process, no secrets', () => {
    const [base] = named(instructions, 'ARG');
    assert.match(base ?? '', /^NODE_IMAGE=[a-z]+:[\w.-]+$/);
    assert.doesNotMatch(base ?? '', /:latest$/);
    for (const from of named(instructions, 'FROM')) assert.match(from, /^\$\{NODE_IMAGE\}( AS [a-z]+)?$/);
    assert.deepEqual(named(finalStage, 'USER'), ['10001:10001']);
    for (const keyword of ['ENTRYPOINT', 'CMD']) {
      const [command, ...others] = named(finalStage, keyword);
      assert.deepEqual(others, []);
      assert.ok(Array.isArray(JSON.parse(command ?? '')), `${keyword} in its exec form`);
    }
    assert.equal(named(finalStage, 'HEALTHCHECK').length, 1);
    for (const keyword of ['ADD', 'MAINTAINER']) assert.deepEqual(named(instructions, keyword), [], keyword);
    const known = [
      'ARG',
      'FROM',
      'WORKDIR',
      'COPY',
      'RUN',
      'SHELL',
      'LABEL',
      'ENV',
      'VOLUME',
      'USER',
      'EXPOSE',
    ];
    for (const instruction of instructions) {
      const keyword = instruction.getKeyword();
      assert.ok([...known, 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'].includes(keyword), keyword);
    }
    for (const run of named(instructions, 'RUN'))
      assert.doesNotMatch(run, /\bsudo\b|curl [^|]*\| *(ba)?sh|--force/);
    // Every pipe's first part counts, or there is none.
    for (const run of named(finalStage, 'RUN')) assert.doesNotMatch(run, /[^|]\|[^|]/);
  });

  it('[DEP8] every argument is explained, every file that is copied is there and not ignored', () => {
    const text = readDeploy('Dockerfile');
    for (const arg of named(instructions, 'ARG').map((one) => one.split('=')[0] ?? '')) {
      assert.match(text, new RegExp(`^# ${arg} `, 'm'), arg);
      assert.match(readDeploy('README.md'), new RegExp(`\`${arg}\``), arg);
    }
    const ignored = readDeploy('Dockerfile.dockerignore').split('\n').filter(Boolean);
    for (const copy of named(instructions, 'COPY').filter((one) => !one.startsWith('/'))) {
      for (const source of copy.split(/\s+/).slice(0, -1)) {
        assert.ok(existsSync(new URL(source, ROOT)), source);
        assert.ok(!ignored.includes(source), source);
      }
    }
    for (const needed of ['server', 'pipeline', 'models', 'vad', 'client', 'test', 'tsconfig.json'])
      assert.ok(!ignored.includes(needed), needed);
  });

  it('[DEP9] its settings are valid, and its ports the defaults', () => {
    const pairs = named(finalStage, 'ENV').flatMap((one) => one.split(/\s+\\?\s*/));
    const env = Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]));
    const { config, warnings } = configOf(env);
    assert.deepEqual(warnings, []);
    assert.equal(config.host, '0.0.0.0');
    assert.deepEqual(named(finalStage, 'EXPOSE'), [
      `${fallbackTextOf('port')} ${fallbackTextOf('adminPort')}`,
    ]);
    assert.match(named(finalStage, 'HEALTHCHECK').join(), new RegExp(`:${config.adminPort}/healthz`));
    for (const folder of [config.modelsDir, config.crashDir, config.quarantineDir, env['HOME'] ?? ''])
      assert.ok(`${folder}/`.startsWith(`${named(finalStage, 'VOLUME').join()}/`), folder);
  });
});

void describe('compose.yaml', () => {
  const compose = readYaml('compose.yaml')[0];
  const server = at(compose, 'services', 'earwitness');

  it('[DEP10] its settings are valid, it waits for a drain, and nothing but this machine reaches it', () => {
    const { config, warnings } = configOf(at(server, 'environment') as Record<string, string>);
    assert.deepEqual(warnings, []);
    assert.equal(config.insecure, true);
    assert.ok(Number.parseInt(String(at(server, 'stop_grace_period'))) > STOP_MIN_SECONDS);
    assert.equal(at(server, 'read_only'), true);
    const services = Object.values(at(compose, 'services') as Record<string, unknown>);
    for (const ports of services.map((service) => at(service, 'ports') as string[]))
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
    assert.equal(at(server, 'build', 'dockerfile'), 'deploy/Dockerfile');
  });

  it('[DEP11] what is mounted is there, and Prometheus finds the server and its rules', () => {
    const services = Object.values(at(compose, 'services') as Record<string, unknown>);
    const mounts = services.flatMap((service) => at(service, 'volumes') as string[]);
    const sources = mounts.map((mount) => mount.split(':')[0] ?? '');
    for (const source of sources.filter((path) => path.startsWith('.')))
      assert.ok(existsSync(new URL(source, DEPLOY)), source);
    for (const volume of sources.filter((path) => !path.startsWith('.')))
      assert.ok(volume in (at(compose, 'volumes') as object), volume);
    const prometheus = readYaml('prometheus/prometheus.yaml')[0];
    assert.deepEqual(at(prometheus, 'scrape_configs', 0, 'static_configs', 0, 'targets'), [
      `earwitness:${fallbackTextOf('adminPort')}`,
    ]);
    const [rules = ''] = at(prometheus, 'rule_files') as string[];
    assert.ok(
      mounts.some((mount) => mount.includes(`:${rules.replace('/*.yaml', '')}:`)),
      rules,
    );
  });
});

void describe('everything in deploy/', () => {
  it('[DEP12] names only settings and options that exist', () => {
    const variables = new Set(SETTING_KEYS.map((key) => variableOf(key)));
    const sources = [
      'server/commands/cli.ts',
      'server/commands/cli_options.ts',
      'server/commands/load_flags.ts',
    ];
    const help = sources.map((path) => readFileSync(new URL(path, ROOT), 'utf8')).join('');
    for (const path of deployPaths()) {
      const text = readDeploy(path);
      for (const [name] of text.matchAll(/EARWITNESS_[A-Z_]+/g)) {
        assert.ok(variables.has(name), `${path}: ${name}`);
      }
      for (const [, options = ''] of text.matchAll(
        /(?:earwitness|main\.js) (?:load|serve|keys create)((?: .*)?)$/gm,
      )) {
        for (const [option] of options.matchAll(/--[a-z-]+/g)) {
          const isSetting = SETTING_KEYS.some((key) => flagOf(key) === option);
          assert.ok(isSetting || help.includes(`'${option}`), `${path}: ${option}`);
        }
      }
    }
  });

  it('[DEP13] proxies take bodies as large as the server does, and wait longer than it asks for signs of life', () => {
    const nginx = readDeploy('nginx.conf');
    assert.match(nginx, new RegExp(`client_max_body_size ${HTTP_BODY_MAX_BYTES / 1_048_576}m;`));
    const [, waitSeconds] = /proxy_read_timeout (\d+)s;/.exec(nginx) ?? [];
    assert.ok(Number(waitSeconds) * 1_000 > KEEP_ALIVE_INTERVAL_MS * (KEEP_ALIVE_MISSED_COUNT + 1));
    assert.match(readDeploy('Caddyfile'), new RegExp(`max_size ${HTTP_BODY_MAX_BYTES / 1_048_576}MiB`));
  });

  it('[DEP19] with its workers at rest a container has room for sessions, however many cores the machine has', () => {
    const readme = readFileSync(new URL('README.md', ROOT), 'utf8');
    const [, inferenceMb = '', audioMb = ''] =
      /inference worker takes about (\d+) MB, each audio worker and the gateway about (\d+) MB/.exec(
        readme,
      ) ?? [];
    const server = at(readYaml('compose.yaml')[0], 'services', 'earwitness');
    const pod = at(readYaml('kubernetes/deployment.yaml')[0], 'spec', 'template', 'spec');
    const containers = [
      [at(server, 'environment'), at(server, 'mem_limit')],
      [
        at(readYaml('kubernetes/config_map.yaml')[0], 'data'),
        at(pod, 'containers', 0, 'resources', 'limits', 'memory'),
      ],
    ];
    for (const [env, limit] of containers) {
      const [, limitGib = ''] = /^(\d+)Gi?$/i.exec(String(limit)) ?? [];
      for (const coreCount of [1, 2, 16, 256]) {
        const { config } = configOf(env as Record<string, string>, coreCount);
        const inferenceCount = config.inferenceWorkers + config.inferenceSpares;
        const audioCount = config.audioWorkers + config.audioSpares;
        const neededMb = inferenceCount * Number(inferenceMb) + (audioCount + 1) * Number(audioMb);
        const limitBytes = Number(limitGib) * 1_024 ** 3;
        assert.ok(
          neededMb * 1_000_000 + MEMORY_ROOM_MIN_BYTES < limitBytes,
          `${neededMb} MB of ${String(limit)} with ${coreCount} cores`,
        );
      }
    }
  });

  it('[DEP14] the systemd unit waits for a drain and does not repeat what cannot work', () => {
    const unit = readDeploy('earwitness.service');
    const value = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
    assert.ok(Number.parseInt(value('TimeoutStopSec')) > STOP_MIN_SECONDS);
    assert.equal(value('RestartPreventExitStatus'), String(EXIT_CONFIG));
    const env = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, pairs = '']) => pairs.split(' '));
    const { warnings } = configOf(Object.fromEntries(env.map((pair) => pair.split('=') as [string, string])));
    assert.deepEqual(warnings, []);
  });
});
