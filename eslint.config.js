import tseslint from 'typescript-eslint';

const importRules = (patterns) => ({
  'no-restricted-imports': ['error', { patterns: patterns.map(([regex, message]) => ({ regex, message })) }],
});
const noTests = ['/test/', 'nothing imports test/'];

export default tseslint.config(
  { ignores: ['dist*', 'node_modules', '**/*.config.js'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'no default exports' },
        {
          selector: "CallExpression[callee.object.name='process'][callee.property.name='exit']",
          message: 'only main files end the process',
        },
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: 'time comes from a Clock',
        },
      ],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 3],
      eqeqeq: 'error',
      ...importRules([noTests]),
    },
  },
  {
    files: ['pipeline/**'],
    rules: importRules([
      noTests,
      ['^(\\.\\./)+(server|vad|models|client|grafana)/', 'pipeline/ imports no other folder'],
    ]),
  },
  {
    files: ['vad/**', 'models/**'],
    rules: importRules([
      noTests,
      [
        '^\\.\\./(server|client|grafana|vad|models)/',
        'vad/ and models/ import only the vocabulary of pipeline/',
      ],
      [
        '^\\.\\./pipeline/(?!(audio|clock|contracts|errors|limits)\\.ts$)',
        'vad/ and models/ import only the vocabulary of pipeline/',
      ],
    ]),
  },
  {
    files: ['client/**'],
    rules: importRules([
      noTests,
      ['^(\\.\\./)+(server|pipeline|vad|models|grafana)/', 'client/ stands alone'],
    ]),
  },
  { files: ['**/*main.ts'], rules: { 'no-restricted-syntax': 'off' } },
  {
    files: ['test/**'],
    rules: {
      'no-restricted-imports': 'off',
      'max-lines-per-function': 'off',
      // node:test returns promises from describe/it that the runner itself awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['it', 'describe', 'test', 'suite'], package: 'node:test' },
          ],
        },
      ],
    },
  },
);
