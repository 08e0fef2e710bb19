/** What the sample of the page says, a voice after the other. */
export const SAMPLE_SENTENCES = [
  'This is a sample, and the voices are synthetic.',
  'Every sentence appears while it is still being spoken.',
  'New words are pale, because they may still change.',
  'When the speaker stops, they settle and stay.',
  'Now press the button, and try it with your own voice.',
] as const;
