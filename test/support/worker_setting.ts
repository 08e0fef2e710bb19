/** A supervised worker and what its owner hears. */
import { SupervisedWorker, type WorkerDeath } from '../../pipeline/supervised_worker.ts';
import { FakeClock } from './fake_clock.ts';
import { FakeLauncher } from './fake_worker.ts';

interface Job {
  readonly type: 'job';
  readonly id: number;
}
interface Answer {
  readonly type: 'answer';
  readonly id: number;
}

/** Bound of the setting's worker. */
export const RSS_MAX_BYTES = 1_000;

/** One supervised worker whose processes the test acts out. */
export class WorkerSetting {
  readonly clock = new FakeClock();
  readonly launcher = new FakeLauncher<Job, Answer>();
  readonly heard: (Answer | 'ready' | 'lost' | 'startFailed')[] = [];
  readonly deaths: WorkerDeath[] = [];
  isBusy = false;
  isExcused = false;
  readonly worker = new SupervisedWorker<Job, Answer>({
    launch: this.launcher.launch,
    clock: this.clock,
    random: () => 0.5,
    rssMaxBytes: RSS_MAX_BYTES,
    owner: {
      ready: () => this.heard.push('ready'),
      message: (message) => this.heard.push(message),
      lost: (death) => {
        this.heard.push('lost');
        this.deaths.push(death);
      },
      startFailed: (death) => {
        this.heard.push('startFailed');
        this.deaths.push(death);
      },
      isBusy: () => this.isBusy,
      excuses: () => this.isExcused,
    },
  });

  /** Starts the worker and its first process, which then does nothing by itself. */
  startReady(): void {
    this.worker.start();
    this.launcher.last.ready();
  }

  /** Lets time pass while the process answers every ping. */
  async liveFor(ms: number): Promise<void> {
    const process = this.launcher.last;
    process.onMessage = ({ type }) => {
      if (type === 'ping') process.pong();
    };
    await this.clock.advance(ms);
    process.onMessage = () => undefined;
  }
}
