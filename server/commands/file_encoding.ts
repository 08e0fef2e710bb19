/** What the audio of a file can be sent as. Apart from its reader, so that the command line need not load that. */
export const FILE_ENCODINGS = ['opus', 'pcm_s16le'] as const;
export type FileEncoding = (typeof FILE_ENCODINGS)[number];
