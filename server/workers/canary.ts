/** Phrases with a known text: what a recogniser must hear before it is given anybody's words. */
import { joinPcm } from '../../pipeline/audio.ts';
import type { AudioDecoderFactory, Recogniser } from '../../pipeline/contracts.ts';
import { InferenceError } from '../../pipeline/errors.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

/**
 * By language. The voices are synthetic (Flite: kal16 says "One two three.", slt "Gracias, muchas gracias."), as
 * Opus packets of 60 ms at 8 kb/s, each after its length in one byte. `words`: lower case, no punctuation.
 */
const CANARIES: Readonly<Record<string, { readonly words: string; readonly packets: readonly string[] }>> = {
  en: {
    words: 'one two three',
    packets: [
      'JxgASEAR7fkQiR02HtgLSoOR5RiDvdw1PHyS/IFnccq/GuYg3hKIgCcYCye75p33XGV38B3X74z7/jVKrSxqE0FXaeMY4R73vsih',
      'BjsUzVgkGAh7JAOAllxV5I8+pqwM0N1QaQg6NfPqQNQ6pFCUsH9RBME6IxggxmhUdqBOvdWFIL0oebY8Ko3sPa7UBIWmu/Xo9hJ+',
      'o71YOxjgaOyfVuMvHB9MK3WCNYLPrwmxw2HM2Gzx8WFXTEOnlzAincRt5p77HWnvMYpCqJLjZCEUXcvOl1UwQBjtSi7hov/Zgu5i',
      'c4XUqKHJRpmguHfXLHczKE3cqHYqcyw4VKi0dxkyyYRtc+8cCtws24l7FXWwNACC/HJO1qYyGOsRmMmBYGtUin2t4D3ad+sHfeua',
      'NKi/QuOYVp2H6cO5YyRroFOiIvip+SKt1rrHB/4tGMnMy3M4TibFOCxpM2CmICKi7bZbeoWMvkD/EIKWCzavaCJeqKUYOYXNgSNg',
      'JRgg6mbLThfYSrkZrCA6g6bKsnWK3TpuocgxGlzVu7i4+iG/Ikg7GOTBI5VOjapHkiG5rvmzC9ymtnT9zS/GQUzG1wTwHBE2M7Dt',
      'Sd7JV1tyzjGjV1XXBq43wQ5dsmZv8SA3GOxzB7VZ4UaWlIvBzPObvgjaKNTORifJqWfuowPXhXSPRDu1g6H7tERbKX+gNynp1bGM',
      'zLSUSDQY6VVFN/BnE+N+C14ILHYpIX5X+BRhsVS1iLI8msHFVef8g0qK677VywkRf0WtUyGcQSrIJRgBXoCA9X9GjikjxSt+gwDJ',
      'RrFdMYmOvF0T1Xquo4QOgI/4HOQuGOBqF2COCIPcxFR6hX/fr3DvBEsEzRsqx5C+QYP12tZHiS4QXy3EIEr8MaxUgCwY4MdUYckb',
      'c10jqGtve9hQ6IBtEScVI8HIDKBgOoZyqx2c6Hd5LHz+5PFT9EEY6vnHRFhtNzcWoKcIBezzVxx+USilmuP14wDrmQ4bGib68te3',
      'W1EnCaEU3cvYiz5Ymk3WEl5MwUd5a4zZuoKYUDcY7HKC6EgcsajOTJ+Wo2CA79Jw5aQ4Re9FeXO2/Pp/IKVOD1Qywiecn7brWf4K',
      'uOsbHTinAYn5Nhjr9hw2/PQSnMBLnaZEodFLDTK9YEB/4Uy7qP/pKmyxpK7hIdh+X93hlqyn/w7qJLtIkN5OAjgY6BY8zd7Zl9Bf',
      'sMTlJa2tIZ44TCO7oMZuJcD3fU4MFbLbsP4G6ZXe4ydVWQU0brYCDJH8HbmogCQYDlpHGa+s4Ea62MihpUvpuqr2C0xnyfQ5jqHE',
      'npayik8Xe6YhGAYPX8owzPVYTqQaA4hkK6QIsnI/joquAelUkyGsUE5A',
    ],
  },
  es: {
    words: 'gracias muchas gracias',
    packets: [
      'JBgDKMty8OqGi0c12kRDM1RHzQq8fDmupwVujB67stGpgOzCwCgYButnhoOQQ4OOlvgHMtCOvBnbIPZ3raif4JjyM6LAsqZp50Hb',
      'enZ4JxgGLT9L+IkYyFHJMtzK6kYhthgSD0mFClNwBQ1MiB4Cfqm72ipnRDUYZiJAbqqvb2nr935XbcdXI/pE3kx3kIlsIb8NlHAO',
      'bZvv+sdG7KqIQoNase0Db1ejzAIZWDwY4BW2CK7/nuKuxiOu84oCB/pDg4YDoN2V+OaciQ0e1JelWCMBoBZQPN3za+gSXrdsfDbk',
      'TT+EDvxwKUA7GO2TRPv72/CPJVkLXPsoAvWHGOqgt4mTG0Pk/KtUGFQneP7LucWn2oce77tLyxORDAdAIRWRJWmfdMA9GO7expru',
      'y2qHEbxtPeGPqpvHGeTi4i5P+4mfmX8M7JWzW2T3LtNmbWBgi/TQBdpYj/OYZFaa7zwnBnUNYzcY7dqYxHK1RFwDGjpN6nvmI6jd',
      'eWsbne73QymswrGV1YoxOc6HavpPACLmpXcUaH8Uq9DGk5OgQBjjjinkFR2WY82Fu6Pxc5ByWzR2pabcWEOWiRqAlGzfc724DfyF',
      '5lsd52m+7qA/LYjZv1OgI4u3KEgLeyCOBsA2GO16k7kpPCt2Dj08VVuGcxk8Qqa3ox0TTbSEqb2mALwRXLuJ9VPjFK4NzHSNZeTJ',
      '+zcfhpJkPRju2o9P8unlLeivede4Yeor2xe2cyRABSeT9WfKDrp6GMNid0EP2F/V25mFIz8GYPl0HCNUAFs7eZNMQIA5GO8QFt3Q',
      'v1Y6O2ptrfg+0VPtHU82PDAPHvLuwYCUEAPN2ItU/vOHG5ZD3SX7G6BDswvJorgQ22KsKRiLFxUok5+tjWbTkKjUdTbQyvCAxdYe',
      'qXXuXKSFWvQgZKML2CO02jRMHxgBZsFPP3B2srXoksQESD6XVS2rfjee+I/NrBD1GYAlGA3Kad9PZwFsTC3p1LBvoBvoV94YL71b',
      'bAkK4k9wtHfMhAhdNiYYJ5M7z7uouGHESDf1UlQuTAymA9YuqywgVKOKj+SINkCMwKkgaEYY5zD3cQ7UE8bcJFU7V27Ql8U//Zjq',
      'aKENJBdUai0fPEs+j1kEwXnbVl1KAFfoMkPYuZ59vafIhZ3+BajUgMTzWrjy5NydPBjs9AaxC7jkAx+VXiUDKLCQk2ZS67PqJoDb',
      'TuuNKCYliuQ4pg2wZqZ445SaC0ckNhEEyWJ4Kyhzq+Nn4EMY7FxjnqHFL3lG2gJx0EluNiSlAZgkcWt8kznstpxQ1q8AB65Fg5vS',
      'Pue5yp5iBV0OvPgrX4rj7954phTv+OiXkPdhMBjkIYR4VWWGFf7xpn957CaFRG13woZDSs9eM111RHP+rnEgd7Ll2AhOERomLUlv',
      '0jkY4Qj1tb2Vrx1FKmLsijUPa8+jEa/s5ppLVXNNUbmXBIwwdyVINT8Ap1ZH8NnGwCaQXIYafGW2lUA7GOzJ20DjBPP7oxj4Thr1',
      'q780sp/BSZN53rpTHN96fq2voTbAxpLUUXpkjJTDk/XXj4DpejZTFQYQkRAlGA4B1YpLxoKY7AzriuLkn/BKnJaMNz9wkuBDogQL',
      '8cregcOfxyYYYVuO4riLtDxFDIkcjzfyPGCumsiw6sXwQXxkmoWkg/fIPQfZYC8YYNeLyEcBXOPcRQC3/0F4Jn7SucsTwSpWuyxI',
      '6B43yFSJTCTQNA37UrWDeBNQxz0Y7KylcNEg+b8HRhA5wUG3H4TLRjtJm5zhEUUEMclYJrNH6JkUkjgFicYx6pQebzxQ9hP3dyQj',
      'Vz3N2AnGORju1g3uwYF8iwODNSnJfet/x3GhsbaUPSxMN2YKJxVFvXORS8nKct4XGV8Upwc4Sdwxnfwg4ea1Jj4Y7k9buVrXhSTK',
      'uxV45juqL+SiKc3Ea1RAf/OsaQyNvhDcsOqRg/tQlCfgBtJm25Rf04tqrZjt5Ydqd5Y3SEEY4JWzSdMxhlvilbXD61mGq+mLVvkT',
      'ijgbBv/CiwVzNIOcmH+6bvmAX2YOl7XDxlcXpK5rKoQDzZqnORgoFP9HgD4Y7Xopt/tLohtppi+KQhILI00eqYi5lqRRtjbNkA99',
      'FJIGcRhS/XV72FKur+S7qrOErIdRci/zofCRsxVvbDgY7rMaRehFajVRth3x/F6YMMUdUlniVR9Vp0ay5fScz3+BhsOsE2wmBqnh',
      'tIRVkoPfWiHvJbf4oT0Y7xBXalCb05sF9NHrVLLad+VADydbseQ51wuiI4B7X+8c26MJxN1355H10hI4LqUO4a1T3KxgtG+NSMv0',
      'NBjsXRnkjGD+Q+fDvXdCKcucoVudLsGpB8sDuXf2tVef5EYK4IMMS5FQ+KxCfJCVocIsIy0lGA6RKiH3yp2vub/X+l3v/05GewFF',
      '89TwtE/dK9e5xSMzGER3mCgYDZbUDQSIcYTVqVWXSDHjFEoRbqC7mwA3uk3OYsH1nyeIp4IjtwNgIhgNoRNHIsQItWe9HJTLMUax',
      'xMMwUdIwA1MFya//IOCKIJk=',
    ],
  },
};

/** A phrase as 16 kHz mono PCM, and the words in it. */
export interface Canary {
  readonly phrase: Int16Array;
  readonly words: string;
}

/** The phrase of a language. Throws `InferenceError` if there is none, or if it does not decode. */
export function decodeCanary(language: string, decoders: AudioDecoderFactory): Canary {
  const canary = CANARIES[language];
  if (canary === undefined)
    throw new InferenceError('internal', `there is no canary phrase in '${language}'`);
  const bytes = Buffer.from(canary.packets.join(''), 'base64');
  const decoder = decoders.create({ encoding: 'opus', sampleRateHz: 16_000, channels: 1 });
  const parts: Int16Array[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const length = bytes[offset] ?? 0;
    const { pcm, fault } = decoder.decode(Uint8Array.from(bytes.subarray(offset + 1, offset + 1 + length)));
    if (fault !== undefined) throw new InferenceError('internal', 'the decoder failed on the canary phrase');
    parts.push(pcm);
    offset += 1 + length;
  }
  decoder.close();
  return { phrase: joinPcm(parts), words: canary.words };
}

/** Warms a recogniser up with the phrase. Throws `InferenceError` unless it hears the words. */
export async function transcribeCanary(recogniser: Recogniser, canary: Canary): Promise<void> {
  const { text } = await transcribeOne(recogniser, { pcm: canary.phrase, draft: [] });
  const heard = text.toLowerCase().replace(/[^\p{L} ]/gu, '');
  if (heard !== canary.words) {
    throw new InferenceError(
      'internal',
      `${recogniser.model} must hear "${canary.words}" in the canary phrase, heard "${heard}"`,
    );
  }
}
