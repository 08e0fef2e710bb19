/** How many workers an utterance has cost, so that its partials and its final together cost no more than allowed. */
import { JOB_DEATH_EXCUSED_MAX_COUNT, JOB_DEATH_MAX_COUNT } from './limits.ts';

/**
 * What a job did to its worker. A death is `excused` when workers without any job die at the same time: whatever ends
 * those is not audio, and may have ended this one too. It is `shared` if other jobs were in the same batch: that counts
 * against none of them, but from then on each is run alone.
 */
export type JobEnd = 'survived' | 'charged' | 'excused' | 'shared';

/** One utterance's account: every job of it carries the same one. */
export class Strikes {
  #chargedCount = 0;
  #deathCount = 0;
  #runningCount = 0;
  #isSuspect = false;

  /** Workers that ended on the utterance's audio, excused deaths included. */
  get deathCount(): number {
    return this.#deathCount;
  }

  /** The utterance has cost as many workers as it may; no job of it is started any more. */
  get isPoison(): boolean {
    return !this.#bears(0);
  }

  /** Its jobs must not share a batch: a worker ended on one in which a job of it was. */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  /** True if the bounds hold even when every job that runs, and one more, ends its worker. */
  get allowsFinal(): boolean {
    return this.#bears(this.#runningCount);
  }

  /**
   * The last try is the final's: a partial is replaceable, and what it cannot survive its final may. Of what is excused
   * most is left to the final.
   */
  get allowsPartial(): boolean {
    return this.#bears(this.#runningCount + 1) && this.#deathCount < JOB_DEATH_MAX_COUNT;
  }

  begin(): void {
    this.#runningCount++;
  }

  end(how: JobEnd): void {
    this.#runningCount--;
    if (how === 'shared') this.#isSuspect = true;
    else if (how !== 'survived') this.#deathCount++;
    if (how === 'charged') this.#chargedCount++;
  }

  /** True if one more job could be started after so many more deaths. */
  #bears(moreCount: number): boolean {
    return (
      this.#chargedCount + moreCount < JOB_DEATH_MAX_COUNT &&
      this.#deathCount + moreCount < JOB_DEATH_EXCUSED_MAX_COUNT
    );
  }
}
