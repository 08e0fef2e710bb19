/** Takes out of a process's last words what must not be kept: credentials, and long encoded stretches. */

const REMOVED = '[removed]';

/** Each with what replaces it; the order matters. */
const RULES: readonly (readonly [RegExp, string])[] = [
  // Before the scheme's own value: `Authorization: Bearer x`, `token=x`, `"apiKey": "x"`.
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, `$1 ${REMOVED}`],
  [
    /\b([\w-]*(?:token|secret|password|passwd|api[_-]?key|access[_-]?key|authorization|cookie|credentials?))(["']?\s*[:=]\s*)(?:"[^"\n]*"|'[^'\n]*'|[^\s,;&"']+)/gi,
    `$1$2${REMOVED}`,
  ],
  // User and password in an address.
  [/\b([a-z][a-z\d+.-]*:\/\/)[^\s/@]+@/gi, `$1${REMOVED}@`],
  // JSON Web Tokens.
  [/\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?/g, REMOVED],
  // What people said never belongs in a log, but a library that quotes its input might put it there.
  [
    /\b(text|transcript|hypothesis|words|draft|pcm|audio)(["']?\s*[:=]\s*)("[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\])/gi,
    `$1$2${REMOVED}`,
  ],
  // Keys, audio and other bytes as hex or base64; paths and stack frames have punctuation before 48 characters.
  [/\b[A-Za-z\d+]{48,}={0,2}/g, REMOVED],
];

/** The text without credentials, quoted speech and long encoded stretches. Names of files and functions stay. */
export function scrub(text: string): string {
  return RULES.reduce((scrubbed, [pattern, replacement]) => scrubbed.replace(pattern, replacement), text);
}
