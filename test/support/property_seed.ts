/**
 * Loaded before every test file: property tests draw from one seed, so that a run can be repeated. Another seed, or
 * `random`: `EARWITNESS_TEST_SEED=… npm test`. A seed that found something stays as an example in its test.
 */
import * as fc from 'fast-check';

const DEFAULT_SEED = 20_261_123;

const wanted = process.env['EARWITNESS_TEST_SEED'];
if (wanted !== 'random') fc.configureGlobal({ seed: wanted === undefined ? DEFAULT_SEED : Number(wanted) });
