/**
 * The process above the gateway: starts it, watches it, starts it again when it dies or hangs, and hands requests to
 * stop down. It loads nothing native and holds no session, so that it has no reason to die itself.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { killChild } from '../pipeline/child_kill.ts';
import type { Cancel, Clock } from '../pipeline/clock.ts';
import { EXIT_CONFIG } from '../pipeline/errors.ts';
import {
  DRAIN_MAX_MS,
  GATEWAY_END_MAX_MS,
  GATEWAY_SILENCE_MAX_MS,
  HEARTBEAT_INTERVAL_MS,
  WORKER_START_MAX_MS,
} from '../pipeline/limits.ts';
import { decideRestart, NO_DEATHS, withDeath, type DeathHistory } from '../pipeline/restart_policy.ts';
import type { CrashFacts } from './records/crash_reports.ts';
import type { Log } from './records/log.ts';
import {
  SUPERVISED_ARGUMENT,
  type GatewayMessage,
  type GatewayPorts,
  type SupervisorMessage,
} from './supervisor_link.ts';

export interface SupervisorOptions {
  /** The program, and its arguments but for what the supervisor adds. */
  readonly modulePath: string;
  readonly args: readonly string[];
  /** Arguments for Node, before the program. */
  readonly execArgv: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Keeps what is known of a death. */
  readonly record: (facts: CrashFacts) => void;
  /** Crash reports written so far. */
  readonly reportCount: () => number;
}

interface GatewayExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One gateway process. */
interface Life {
  readonly process: ChildProcess;
  readonly startedAtMs: number;
  heardAtMs: number;
  /** It has answered: its event loop runs. */
  hasAnswered: boolean;
  isReady: boolean;
  rssBytes: number;
  lastWords: string;
  /** At the last look it had been silent for too long. */
  isSuspect: boolean;
  /** Why we killed it. */
  killCause: 'start' | 'hang' | undefined;
  readonly cancels: Cancel[];
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  #life: Life | undefined;
  #history: DeathHistory = NO_DEATHS;
  #startCount = 0;
  #hasServed = false;
  #isStopping = false;
  /** Ports of the first start: a gateway that chose its own must be found there again. */
  #portArgs: readonly string[] = [];
  #wake: (() => void) | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Runs until the gateway ends on purpose; resolves to the exit status. */
  async run(): Promise<number> {
    while (!this.#isAskedToStop()) {
      const { life, exit } = await this.#runOnce();
      this.#recordDeath(life, exit);
      if (this.#isFinal(exit)) return this.#statusOf(exit);
      await this.#pause(exit, life.isReady);
    }
    // Asked while there was no gateway: there was nothing to drain.
    return 0;
  }

  /** Asks the gateway to drain; asked again, or when its time is over, ends it at once. */
  stop(): void {
    if (this.#life !== undefined) {
      if (this.#isStopping) killChild(this.#life.process, 'SIGKILL');
      else this.#askToStop(this.#life);
    }
    this.#isStopping = true;
    this.#wake?.();
  }

  /** Has the gateway read keys and certificates again. */
  reload(): void {
    // One that is only starting reads them anyway, and would be ended by the signal.
    if (this.#life?.hasAnswered === true) killChild(this.#life.process, 'SIGHUP');
  }

  /** A process whose disk does not answer cannot even exit. */
  #askToStop(life: Life): void {
    const { clock, log } = this.#options;
    send(life, { type: 'stop' });
    const maxMs = GATEWAY_END_MAX_MS + (life.isReady ? DRAIN_MAX_MS : 0);
    const cancel = clock.after(maxMs, () => {
      log.error('the gateway did not end in time and is killed', { maxMs });
      this.#kill(life, 'hang');
    });
    life.cancels.push(cancel);
  }

  /** A call, because signals change it behind the compiler's back. */
  #isAskedToStop(): boolean {
    return this.#isStopping;
  }

  #isFinal({ code }: GatewayExit): boolean {
    // A configuration that has worked before works again: its port may be taken for a moment.
    const isHopeless = code === EXIT_CONFIG && !this.#hasServed;
    return this.#isStopping || code === 0 || isHopeless;
  }

  /** A gateway that a signal to all of us ended before it listened for it had nothing to drain. */
  #statusOf({ code, signal }: GatewayExit): number {
    if (code !== null) return code;
    return this.#isStopping && (signal === 'SIGTERM' || signal === 'SIGINT') ? 0 : 1;
  }

  #runOnce(): Promise<{ readonly life: Life; readonly exit: GatewayExit }> {
    const { modulePath, args, execArgv, log } = this.#options;
    this.#startCount++;
    return new Promise((resolve) => {
      const gateway = fork(modulePath, [...args, SUPERVISED_ARGUMENT, ...this.#portArgs], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        execArgv: [...process.execArgv, ...execArgv],
      });
      const life = this.#begin(gateway);
      gateway.on('message', (message: GatewayMessage) => {
        this.#hear(life, message);
      });
      const settle = (exit: GatewayExit): void => {
        this.#life = undefined;
        for (const cancel of life.cancels) cancel();
        resolve({ life, exit });
      };
      gateway.once('exit', (code, signal) => {
        settle({ code, signal });
      });
      gateway.on('error', (error) => {
        // A message to a gateway that is just ending finds no channel; its exit is about to come.
        if (gateway.pid !== undefined) return;
        log.error('the gateway cannot be started', { err: error });
        settle({ code: 1, signal: null });
      });
    });
  }

  #begin(gateway: ChildProcess): Life {
    const nowMs = this.#options.clock.nowMs();
    const life: Life = {
      process: gateway,
      startedAtMs: nowMs,
      heardAtMs: nowMs,
      ...{ hasAnswered: false, isReady: false, isSuspect: false },
      ...{ rssBytes: 0, lastWords: '', killCause: undefined, cancels: [] },
    };
    this.#life = life;
    this.#watch(life);
    return life;
  }

  #hear(life: Life, message: GatewayMessage): void {
    life.heardAtMs = this.#options.clock.nowMs();
    life.hasAnswered = true;
    switch (message.type) {
      case 'pong':
        life.rssBytes = message.rssBytes;
        return;
      case 'ready':
        life.isReady = this.#hasServed = true;
        this.#portArgs = portArgsOf(message);
        return;
      case 'lastWords':
        life.lastWords = message.words;
    }
  }

  /** Asks for a sign of life. Silence counts at the second look: if it was we who stood still, answers wait unread. */
  #watch(life: Life): void {
    const { clock, log, reportCount } = this.#options;
    send(life, { type: 'ping', restarts: this.#startCount - 1, reports: reportCount() });
    const cancel = clock.after(HEARTBEAT_INTERVAL_MS, () => {
      life.cancels.splice(life.cancels.indexOf(cancel), 1);
      const silentMs = clock.nowMs() - life.heardAtMs;
      const isSilent = silentMs > (life.hasAnswered ? GATEWAY_SILENCE_MAX_MS : WORKER_START_MAX_MS);
      if (isSilent && life.isSuspect) {
        log.error('the gateway does not answer and is killed', { silentMs: Math.round(silentMs) });
        this.#kill(life, life.hasAnswered ? 'hang' : 'start');
        return;
      }
      life.isSuspect = isSilent;
      this.#watch(life);
    });
    life.cancels.push(cancel);
  }

  #kill(life: Life, cause: 'start' | 'hang'): void {
    life.killCause ??= cause;
    killChild(life.process, 'SIGKILL');
  }

  /** Ends that were asked for, and a configuration that cannot work, are no deaths. */
  #recordDeath(life: Life, { code, signal }: GatewayExit): void {
    const { killCause, startedAtMs, rssBytes, lastWords, process: gateway } = life;
    if (killCause === undefined && (this.#isStopping || code === 0 || code === EXIT_CONFIG)) return;
    this.#options.record({
      role: 'gateway',
      pid: gateway.pid ?? 0,
      generation: this.#startCount,
      uptimeMs: this.#options.clock.nowMs() - startedAtMs,
      code,
      signal,
      kind: killCause ?? (signal === null ? 'exit' : 'signal'),
      rssBytes,
      jobs: [],
      sessionsReplayed: 0,
      stderrTail: lastWords,
    });
  }

  async #pause(exit: GatewayExit, wasReady: boolean): Promise<void> {
    const { clock, random, log } = this.#options;
    this.#history = withDeath(this.#history, { atMs: clock.nowMs(), wasReady });
    const decision = decideRestart(this.#history, random());
    log.error('the gateway died and is started again', { ...exit, delayMs: Math.round(decision.delayMs) });
    await new Promise<void>((resolve) => {
      const cancel = clock.after(decision.delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }
}

function portArgsOf({ port, adminPort, voskPort }: GatewayPorts): readonly string[] {
  const vosk = voskPort === undefined ? [] : ['--vosk-port', String(voskPort)];
  return ['--port', String(port), '--admin-port', String(adminPort), ...vosk];
}

function send({ process: gateway }: Life, message: SupervisorMessage): void {
  if (gateway.connected) gateway.send(message);
}
