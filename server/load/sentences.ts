/** Sentences that differ in most of their words, so that a transcript tells which one was spoken. */
import { draw } from './draw.ts';

const NUMBERS = ['two', 'three', 'four', 'five', 'six', 'seven', 'nine', 'ten', 'twenty', 'forty'] as const;
const QUALITIES = [
  ...['brown', 'green', 'silver', 'broken', 'heavy', 'wooden', 'hungry', 'famous', 'quiet', 'yellow'],
  ...['frozen', 'gentle', 'golden', 'lonely', 'modern', 'narrow', 'orange', 'purple', 'simple', 'strong'],
] as const;
const BEINGS = [
  ...['horses', 'doctors', 'farmers', 'tigers', 'sailors', 'teachers', 'soldiers', 'monkeys', 'painters'],
  ...['dancers', 'singers', 'students', 'rabbits', 'bankers', 'drivers', 'hunters', 'lawyers', 'pirates'],
] as const;
const DEEDS = [
  ...['carried', 'followed', 'painted', 'counted', 'repaired', 'covered', 'borrowed', 'delivered'],
  ...['discovered', 'protected', 'collected', 'admired', 'destroyed', 'forgot', 'ordered', 'wanted'],
] as const;
const THINGS = [
  ...['tables', 'bottles', 'letters', 'candles', 'baskets', 'windows', 'hammers', 'pictures', 'blankets'],
  ...['buttons', 'carpets', 'engines', 'flowers', 'jackets', 'ladders', 'mirrors', 'pockets', 'tickets'],
] as const;
const PLACES = [
  ...['behind the church', 'under the bridge', 'near the station', 'on the mountain', 'in the kitchen'],
  ...['beside the river', 'across the desert', 'at the market', 'inside the castle', 'along the beach'],
] as const;

/** `count` sentences of a seed, no two the same. */
export function distinctSentences(count: number, seed: number): string[] {
  const parts = [NUMBERS, QUALITIES, BEINGS, DEEDS, QUALITIES, THINGS, PLACES];
  const sentences = new Set<string>();
  for (let n = 0; sentences.size < count; n++) {
    const words = parts.map((list, part) => list[Math.floor(draw(seed, n, part) * list.length)] ?? '');
    sentences.add(words.join(' '));
  }
  return [...sentences];
}
