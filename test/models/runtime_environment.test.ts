import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { it } from 'node:test';

/** What a process with this environment gives to those that load ONNX Runtime. */
function environmentOf(env: Readonly<Record<string, string | undefined>>): unknown {
  const module = new URL('../../models/runtime_environment.js', import.meta.url).href;
  const program = `import(${JSON.stringify(module)}).then((it) => console.log(JSON.stringify(it.RUNTIME_ENVIRONMENT)))`;
  return JSON.parse(execFileSync(process.execPath, ['-e', program], { env, encoding: 'utf8' }));
}

it('[MOD24] telemetry is off and huge pages are asked for; what the operator has told glibc stands', () => {
  assert.deepEqual(environmentOf({}), {
    ORT_DISABLE_TELEMETRY: '1',
    GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
  });
  assert.deepEqual(environmentOf({ GLIBC_TUNABLES: 'glibc.malloc.check=1' }), {
    ORT_DISABLE_TELEMETRY: '1',
    GLIBC_TUNABLES: 'glibc.malloc.check=1',
  });
});
