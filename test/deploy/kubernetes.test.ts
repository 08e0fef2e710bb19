import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'node:test';
import * as monitoring from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import * as apps from 'kubernetes-models/apps/v1';
import * as autoscaling from 'kubernetes-models/autoscaling/v2';
import * as networking from 'kubernetes-models/networking.k8s.io/v1';
import * as policy from 'kubernetes-models/policy/v1';
import * as core from 'kubernetes-models/v1';
import ts from 'typescript';
import { parse } from 'yaml';
import { DRAIN_MAX_MS, GATEWAY_END_MAX_MS } from '../../pipeline/limits.ts';
import { METRICS } from '../../pipeline/telemetry.ts';
import { resolveConfig } from '../../server/config.ts';
import { at, DEPLOY, deployPaths, readDeploy, readYaml, ROOT } from './deploy_files.ts';

/** What each API version has: a package's types, and its models that validate. */
const APIS: Readonly<Record<string, { readonly module: string; readonly models: object }>> = {
  v1: { module: 'kubernetes-models/v1', models: core },
  'apps/v1': { module: 'kubernetes-models/apps/v1', models: apps },
  'autoscaling/v2': { module: 'kubernetes-models/autoscaling/v2', models: autoscaling },
  'networking.k8s.io/v1': { module: 'kubernetes-models/networking.k8s.io/v1', models: networking },
  'policy/v1': { module: 'kubernetes-models/policy/v1', models: policy },
  'monitoring.coreos.com/v1': {
    module: '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
    models: monitoring,
  },
};

const kustomization = readYaml('kubernetes/kustomization.yaml')[0];
const resources = at(kustomization, 'resources') as string[];

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

const manifests = resources.flatMap((path) => readYaml(`kubernetes/${path}`) as Manifest[]);

function manifest(kind: string, name = 'earwitness'): Manifest {
  const found = manifests.find((one) => one.kind === kind && at(one, 'metadata', 'name') === name);
  assert.ok(found !== undefined, `${kind} ${name}`);
  return found;
}

/** What the compiler says of these manifests as values of their types: unknown fields, wrong types, missing ones. */
function typeFaults(values: readonly Manifest[]): string[] {
  const source = values
    .map((value, i) => {
      const module = APIS[value.apiVersion]?.module;
      assert.ok(module !== undefined, `no types for ${value.apiVersion}`);
      return `import type { I${value.kind} as T${i} } from '${module}';\nexport const v${i}: T${i} = ${JSON.stringify(value)};`;
    })
    .join('\n');
  const path = fileURLToPath(new URL('manifests.ts', ROOT));
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, types: [] },
    ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2023 },
  };
  const disk = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (name) => name === path || disk.fileExists(name),
    getSourceFile: (name, version) =>
      name === path ? ts.createSourceFile(name, source, version) : disk.getSourceFile(name, version),
  };
  return ts
    .getPreEmitDiagnostics(ts.createProgram([path], options, host))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

void describe('Kubernetes manifests', () => {
  it('[DEP1] have the fields and values that Kubernetes and its operators know, and no others', () => {
    assert.deepEqual(typeFaults(manifests), []);
    const deployment = structuredClone(manifest('Deployment')) as unknown as {
      spec: Record<string, unknown>;
    };
    deployment.spec['replcas'] = 2;
    assert.match(typeFaults([deployment as unknown as Manifest]).join(), /replcas/);
    for (const value of manifests) {
      const models = APIS[value.apiVersion]?.models as Record<
        string,
        new (data: object) => { validate(): void }
      >;
      const Model = models[value.kind];
      assert.ok(Model !== undefined, value.kind);
      new Model(value).validate();
    }
  });

  it('[DEP2] the kustomization has every manifest', () => {
    const paths = deployPaths().flatMap((path) => /^kubernetes\/(.+)$/.exec(path)?.[1] ?? []);
    const others = ['kustomization.yaml', 'prometheus_adapter_values.yaml'];
    assert.deepEqual(paths.filter((path) => !others.includes(path)).sort(), [...resources].sort());
    for (const path of others) assert.ok(existsSync(new URL(`kubernetes/${path}`, DEPLOY)), path);
  });

  it('[DEP3] a pod has the time that a drain takes', () => {
    const pod = at(manifest('Deployment'), 'spec', 'template', 'spec');
    const [, pauseSeconds] = at(pod, 'containers', 0, 'lifecycle', 'preStop', 'exec', 'command') as string[];
    const neededSeconds = Number(pauseSeconds) + (DRAIN_MAX_MS + GATEWAY_END_MAX_MS) / 1_000;
    assert.ok(Number(at(pod, 'terminationGracePeriodSeconds')) > neededSeconds, `${neededSeconds} s`);
  });

  it('[DEP4] what refers to pods, ports and volumes finds them', () => {
    const deployment = manifest('Deployment');
    const labels = JSON.stringify(at(deployment, 'spec', 'template', 'metadata', 'labels'));
    assert.deepEqual(
      [
        at(deployment, 'spec', 'selector', 'matchLabels'),
        at(
          deployment,
          'spec',
          'template',
          'spec',
          'topologySpreadConstraints',
          0,
          'labelSelector',
          'matchLabels',
        ),
        at(manifest('PodDisruptionBudget'), 'spec', 'selector', 'matchLabels'),
        at(manifest('NetworkPolicy'), 'spec', 'podSelector', 'matchLabels'),
        at(manifest('Service'), 'spec', 'selector'),
        at(manifest('Service', 'earwitness-admin'), 'spec', 'selector'),
      ].map((selector) => JSON.stringify(selector)),
      Array.from({ length: 6 }, () => labels),
    );
    assert.deepEqual(
      at(manifest('ServiceMonitor'), 'spec', 'selector', 'matchLabels'),
      at(manifest('Service', 'earwitness-admin'), 'metadata', 'labels'),
    );
    const container = at(deployment, 'spec', 'template', 'spec', 'containers', 0);
    const { config } = resolveConfig({
      ...{ flags: {}, env: at(manifest('ConfigMap'), 'data') as Record<string, string>, homeDir: '/home' },
      ...{ processorCount: 2, workingDir: '/', readFile: () => '' },
    });
    assert.deepEqual(at(container, 'ports'), [
      { name: 'http', containerPort: config.port },
      { name: 'admin', containerPort: config.adminPort },
    ]);
    assert.equal(String(config.inferenceWorkers), at(container, 'resources', 'requests', 'cpu'));
    const volumes = (at(deployment, 'spec', 'template', 'spec', 'volumes') as { name: string }[]).map(
      (v) => v.name,
    );
    assert.deepEqual(
      (at(container, 'volumeMounts') as { name: string }[]).map((mount) => mount.name),
      volumes,
    );
  });

  it('[DEP5] nothing in a pod is privileged or can write to its root', () => {
    const pod = at(manifest('Deployment'), 'spec', 'template', 'spec');
    assert.equal(at(pod, 'automountServiceAccountToken'), false);
    assert.equal(at(pod, 'securityContext', 'runAsNonRoot'), true);
    assert.deepEqual(at(pod, 'containers', 0, 'securityContext'), {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('[DEP20] the rule for a collector, which is commented out, is one when it is not', () => {
    const text = readDeploy('kubernetes/network_policy.yaml').replace(/^( +)# (- | {2})/gm, '$1$2');
    const policy = parse(text) as Manifest;
    assert.deepEqual(typeFaults([policy]), []);
    const known = (at(manifest('NetworkPolicy'), 'spec', 'egress') as unknown[]).map((rule) =>
      JSON.stringify(rule),
    );
    const added = (at(policy, 'spec', 'egress') as unknown[]).filter(
      (rule) => !known.includes(JSON.stringify(rule)),
    );
    assert.deepEqual(
      added.map((rule) => at(rule, 'ports')),
      [[{ port: 4318, protocol: 'TCP' }]],
    );
  });

  it('[DEP6] the autoscaler asks for a metric that the adapter makes of metrics that exist', () => {
    const rule = at(readYaml('kubernetes/prometheus_adapter_values.yaml')[0], 'rules', 'custom', 0);
    const hpa = manifest('HorizontalPodAutoscaler');
    assert.equal(at(hpa, 'spec', 'metrics', 0, 'pods', 'metric', 'name'), at(rule, 'name', 'as'));
    const named = `${String(at(rule, 'seriesQuery'))} ${String(at(rule, 'metricsQuery'))}`.matchAll(
      /earwitness_(\w+)/g,
    );
    for (const [, name = ''] of named) assert.ok(name in METRICS, name);
    assert.equal(at(hpa, 'spec', 'scaleTargetRef', 'name'), at(manifest('Deployment'), 'metadata', 'name'));
  });
});
