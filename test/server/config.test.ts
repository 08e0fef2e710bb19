import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { format } from 'prettier';
import { ConfigError } from '../../pipeline/errors.ts';
import { loadConfig, resolveConfig, type ConfigSources } from '../../server/config.ts';
import { renderConfig } from '../../server/commands/config_command.ts';
import {
  flagOf,
  renderSettingsTable,
  SETTING_KEYS,
  settingOf,
  variableOf,
  type SettingKey,
} from '../../server/settings.ts';
import { closestName } from '../../server/commands/suggestion.ts';

const FILE = '/etc/earwitness/server.yaml';

function sources(given: Partial<ConfigSources> & { readonly yaml?: string } = {}): ConfigSources {
  const { yaml, ...rest } = given;
  return {
    flags: yaml === undefined ? {} : { config: FILE },
    env: {},
    homeDir: '/home/ada',
    processorCount: 4,
    workingDir: '/work',
    readFile: (path) => {
      assert.equal(path, FILE);
      return yaml ?? '';
    },
    ...rest,
  };
}

function faultsOf(given: Parameters<typeof sources>[0]): string {
  let message = '';
  assert.throws(
    () => resolveConfig(sources(given)),
    (error) => {
      assert(error instanceof ConfigError);
      assert.equal(error.code, 'bad_config');
      message = error.message;
      return true;
    },
  );
  return message;
}

describe('configuration', () => {
  it('[CFG1] a flag is stronger than a variable, a variable than the file, the file than the default', () => {
    const layer = fc.option(fc.integer({ min: 1, max: 64 }), { nil: undefined });
    fc.assert(
      fc.property(layer, layer, layer, (flag, variable, file) => {
        const { config, origins } = resolveConfig(
          sources({
            flags: { config: FILE, ...(flag === undefined ? {} : { audioWorkers: String(flag) }) },
            env: variable === undefined ? {} : { EARWITNESS_AUDIO_WORKERS: String(variable) },
            yaml: file === undefined ? '' : `audioWorkers: ${file}`,
          }),
        );
        assert.equal(config.audioWorkers, flag ?? variable ?? file ?? 1);
        const expected = [
          [flag, 'flag', '--audio-workers'],
          [variable, 'variable', 'EARWITNESS_AUDIO_WORKERS'],
          [file, 'file', FILE],
          [0, 'default', 'default'],
        ] as const;
        const [, kind, name] = expected.find(([value]) => value !== undefined) ?? [];
        assert.deepEqual(origins.audioWorkers, { kind, name });
      }),
    );
  });

  it('[CFG2] one error names every bad field with its rule, its value and where it comes from', () => {
    const message = faultsOf({
      flags: { config: FILE, silenceMs: '99' },
      env: { EARWITNESS_PORT: 'abc', EARWITNESS_MODEL: 'whisper', EARWITNESS_DEVICE: 'tpu' },
      yaml: 'logLevel: loud\nmaxSessions: 1.5\n',
    });
    for (const fault of [
      "port: expected a whole number from 0 to 65535, got 'abc' (from EARWITNESS_PORT)",
      "silenceMs: expected a whole number from 100 to 3000, got '99' (from --silence-ms)",
      "model: expected one of moonshine-tiny-en, moonshine-base-es, got 'whisper' (from EARWITNESS_MODEL)",
      "device: expected auto, cpu, or accelerators separated by commas, each once: cuda, dml, coreml, webgpu; cuda:1 is the second, got 'tpu' (from EARWITNESS_DEVICE)",
      `logLevel: expected one of debug, info, warn, error, got 'loud' (from ${FILE})`,
      `maxSessions: expected a whole number from 1 to 262144, got 1.5 (from ${FILE})`,
    ]) {
      assert(message.split('\n  ').includes(fault), `${fault}\nis not in\n${message}`);
    }
    assert.equal(message.split('\n  ').length, 7, message);
  });

  it('[CFG2] one fault makes one line', () => {
    assert.equal(
      faultsOf({ flags: { port: '' } }),
      "cannot start as configured: port: expected a whole number from 0 to 65535, got '' (from --port)",
    );
  });

  it('[CFG18] an address with a user and password is refused, and neither is shown', () => {
    for (const otlpEndpoint of ['http://ada:se/cret@127.0.0.1:4318', 'http://secret@127.0.0.1:4318']) {
      assert.equal(
        faultsOf({ flags: { otlpEndpoint } }),
        "cannot start as configured: otlpEndpoint: expected an http or https address without a user and password, got 'http://…@127.0.0.1:4318' (from --otlp-endpoint)",
      );
    }
    const otlpEndpoint = 'http://127.0.0.1:4318/base';
    assert.equal(resolveConfig(sources({ flags: { otlpEndpoint } })).config.otlpEndpoint, otlpEndpoint);
  });

  it('[CFG3] an unknown key of the file is an error, with the key that may be meant', () => {
    assert.match(faultsOf({ yaml: 'silence_ms: 300' }), /silence_ms: .*; did you mean silenceMs\? \(from /);
    assert.match(faultsOf({ yaml: 'config: other.yaml' }), /config: expected the name of a setting/);
    assert.match(
      faultsOf({ yaml: '__proto__: 1\nconstructor: 2' }),
      /__proto__: expected[^]*constructor: expected/,
    );
  });

  it('[CFG4] an unknown EARWITNESS_ variable is a warning, with the variable that may be meant', () => {
    const { warnings } = resolveConfig(
      sources({ env: { EARWITNESS_PROT: '1', EARWITNESS_ZZZZ: '1', PORT: '1' } }),
    );
    assert.deepEqual(warnings, [
      'EARWITNESS_PROT is ignored: it names no setting; did you mean EARWITNESS_PORT?',
      'EARWITNESS_ZZZZ is ignored: it names no setting',
    ]);
  });

  it('[CFG5] an empty variable counts as not set', () => {
    const { config, warnings } = resolveConfig(
      sources({ env: { EARWITNESS_PORT: '', EARWITNESS_WHAT: '' } }),
    );
    assert.equal(config.port, 8080);
    assert.deepEqual(warnings, []);
  });

  it('[CFG6] what Kubernetes sets for a Service called earwitness is not taken for a setting', () => {
    const { config, warnings } = resolveConfig(
      sources({
        env: {
          EARWITNESS_PORT: 'tcp://10.0.0.7:8080',
          EARWITNESS_ADMIN_PORT: 'tcp://10.0.0.8:9464',
          EARWITNESS_SERVICE_HOST: '10.0.0.7',
          EARWITNESS_SERVICE_PORT: '8080',
          EARWITNESS_SERVICE_PORT_HTTP: '8080',
          EARWITNESS_PORT_8080_TCP: 'tcp://10.0.0.7:8080',
          EARWITNESS_PORT_8080_TCP_ADDR: '10.0.0.7',
        },
      }),
    );
    assert.equal(config.port, 8080);
    assert.equal(config.adminPort, 9464);
    assert.equal(warnings.length, 2, warnings.join('\n'));
  });

  it('[CFG7] a file that is missing, no YAML or no table of settings is an error with its path', () => {
    const missing = (): string => {
      throw new Error("ENOENT: no such file or directory, stat 'x'");
    };
    assert.match(
      faultsOf({ yaml: '', readFile: missing }),
      /got ENOENT.* \(from \/etc\/earwitness\/server.yaml\)/,
    );
    assert.match(
      faultsOf({ yaml: 'port: 1\nport: 2' }),
      /got a fault in line 2, column 1: Map keys must be unique \(from /,
    );
    assert.match(faultsOf({ yaml: '- port' }), /got \[ 'port' \] \(from /);
    assert.throws(() => loadConfig({ config: '/dev/null/none' }), ConfigError);
  });

  it('[CFG7] an empty file leaves everything as it is', () => {
    assert.equal(resolveConfig(sources({ yaml: '# nothing\n' })).config.port, 8080);
  });

  it('[CFG8] settings that exclude each other are an error', () => {
    assert.match(faultsOf({ flags: { port: '9464' } }), /adminPort: expected another port/);
    assert.match(
      faultsOf({ flags: { silenceMs: '3000', maxUtteranceMs: '2000' } }),
      /silenceMs: expected less than maxUtteranceMs \(2000\), got 3000/,
    );
    assert.match(
      faultsOf({ flags: { maxSessions: '4097' } }),
      /expected at most 4096 with audioWorkers 1, got 4097/,
    );
    assert.match(faultsOf({ flags: { voskPort: '8080' } }), /voskPort: expected a port of its own, got 8080/);
    assert.equal(resolveConfig(sources({ flags: { port: '0', adminPort: '0' } })).config.adminPort, 0);
  });

  it('[CFG17] dialects are a list of names, each once; all of them are spoken without it', () => {
    const all = ['native', 'deepgram', 'openai', 'vosk'];
    assert.deepEqual(resolveConfig(sources()).config.dialects, all);
    assert.deepEqual(resolveConfig(sources({ flags: { dialects: 'native, vosk' } })).config.dialects, [
      'native',
      'vosk',
    ]);
    for (const dialects of ['native,native', 'native,klingon']) {
      assert.match(faultsOf({ flags: { dialects } }), /dialects: expected one or more of native/);
    }
  });

  it('[CFG9] the configuration and its origins are frozen', () => {
    const { config, origins } = resolveConfig(sources());
    assert(Object.isFrozen(config) && Object.isFrozen(origins));
  });

  it('[CFG10] relative paths start at the working folder, those of the file at its folder', () => {
    const flag = resolveConfig(sources({ flags: { modelsDir: 'm' } }));
    const file = resolveConfig(sources({ yaml: 'modelsDir: m' }));
    assert.equal(flag.config.modelsDir, '/work/m');
    assert.equal(file.config.modelsDir, '/etc/earwitness/m');
  });

  it('[CFG10] the file can be named by a variable, and a flag names another', () => {
    const env = { EARWITNESS_CONFIG: FILE };
    assert.equal(resolveConfig(sources({ env, readFile: () => 'port: 7' })).config.port, 7);
    const readFile = (path: string): string => (path === '/work/b.yaml' ? 'port: 8' : 'port: 7');
    const both = resolveConfig(sources({ env, flags: { config: 'b.yaml' }, readFile }));
    assert.equal(both.config.port, 8);
    assert.equal(both.config.config, '/work/b.yaml');
  });

  it('[CFG11] every default is valid, on every machine', () => {
    for (const processorCount of [1, 2, 64, 1_000]) {
      const machine = { processorCount, homeDir: '/home/ada', env: {} };
      for (const key of SETTING_KEYS) {
        const { schema, fallback } = settingOf(key);
        const value = fallback(machine);
        assert.deepEqual(schema.parse(value), value, key);
      }
    }
    assert.equal(resolveConfig(sources({ processorCount: 1 })).config.inferenceWorkers, 1);
    assert.equal(resolveConfig(sources({ processorCount: 4 })).config.audioWorkers, 1);
    assert.equal(resolveConfig(sources({ processorCount: 16 })).config.audioWorkers, 4);
    assert.equal(resolveConfig(sources({ processorCount: 8 })).config.inferenceWorkers, 8);
  });

  it('[CFG12] nothing that a file, a variable or a flag holds leads to anything but a ConfigError', () => {
    const keys: fc.Arbitrary<SettingKey> = fc.constantFrom(...SETTING_KEYS);
    const layer = fc.dictionary(keys, fc.string({ unit: 'binary' }), { noNullPrototype: true });
    fc.assert(
      fc.property(layer, layer, fc.string(), (flags, variables, yaml) => {
        const entries = Object.entries(variables).map(([key, value]) => [
          variableOf(key as SettingKey),
          value,
        ]);
        try {
          resolveConfig({
            ...sources({ flags, env: Object.fromEntries(entries) as never }),
            readFile: () => yaml,
          });
        } catch (error) {
          assert(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('settings table', () => {
  it('[CFG13] flags and variables follow from the keys and are unique', () => {
    assert.equal(flagOf('maxUtteranceMs'), '--max-utterance-ms');
    assert.equal(variableOf('maxUtteranceMs'), 'EARWITNESS_MAX_UTTERANCE_MS');
    assert.equal(new Set(SETTING_KEYS.map(flagOf)).size, SETTING_KEYS.length);
  });

  it('[CFG14] the Markdown table names every setting and is as Prettier would have it', async () => {
    const table = renderSettingsTable();
    for (const key of SETTING_KEYS) assert(table.includes(`\`${variableOf(key)}\``), key);
    assert.equal(await format(table, { parser: 'markdown' }), `${table}\n`);
  });

  it('[CFG15] the effective configuration is printed with every origin', () => {
    const loaded = resolveConfig(sources({ flags: { port: '9000' }, env: { EARWITNESS_LOG_LEVEL: 'warn' } }));
    const text = renderConfig(loaded, { json: false });
    assert.match(text, /^port +9000 +--port$/m);
    assert.match(text, /^logLevel +warn +EARWITNESS_LOG_LEVEL$/m);
    assert.match(text, /^host +127\.0\.0\.1 +default$/m);
    const parsed = JSON.parse(renderConfig(loaded, { json: true })) as Record<string, unknown>;
    assert.deepEqual(parsed['port'], { value: 9000, origin: { kind: 'flag', name: '--port' } });
    assert.deepEqual(Object.keys(parsed), SETTING_KEYS);
  });

  it('[CFG16] a name is guessed when it is near, and not when it is not', () => {
    assert.equal(closestName('prot', ['host', 'port']), 'port');
    assert.equal(closestName('SILENCE-MS', ['silenceMs']), 'silenceMs');
    assert.equal(closestName('unrelated', ['host', 'port']), undefined);
    assert.equal(closestName('x'.repeat(100_000), ['host']), undefined);
  });
});
