/**
 * The process above the gateway: starts it, starts it again when it dies, and hands signals down. It loads nothing
 * native and holds no session, so that it has no reason to die itself.
 */
import { fork, type ChildProcess } from 'node:child_process';
import type { Cancel, Clock } from '../pipeline/clock.ts';
import { EXIT_CONFIG } from '../pipeline/errors.ts';
import { DRAIN_MAX_MS, GATEWAY_END_MAX_MS } from '../pipeline/limits.ts';
import { decideRestart, NO_DEATHS, withDeath, type DeathHistory } from '../pipeline/restart_policy.ts';
import type { Log } from './log.ts';

/** What a supervised gateway tells its supervisor, once, when sessions can be served. */
export interface GatewayReady {
  readonly type: 'gatewayReady';
  readonly port: number;
  readonly adminPort: number;
  /** Where every path speaks vosk, if there is such a port. */
  readonly voskPort?: number;
}

export interface SupervisorOptions {
  /** The program, and its arguments but for what the supervisor adds. */
  readonly modulePath: string;
  readonly args: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

interface GatewayExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  #gateway: ChildProcess | undefined;
  #history: DeathHistory = NO_DEATHS;
  #isReady = false;
  #hasServed = false;
  #isStopping = false;
  /** Ports of the first start: a gateway that chose its own must be found there again. */
  #portArgs: readonly string[] = [];
  #wake: (() => void) | undefined;
  #cancelKill: Cancel | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Runs until the gateway ends on purpose; resolves to the exit status. */
  async run(): Promise<number> {
    for (;;) {
      const exit = await this.#runOnce();
      if (this.#isFinal(exit)) return this.#statusOf(exit);
      await this.#pause(exit);
      // Asked to stop while there was no gateway: there was nothing to drain.
      if (this.#isAskedToStop()) return 0;
    }
  }

  /** Asks the gateway to drain; asked again, or when its time is over, ends it at once. */
  stop(): void {
    this.#gateway?.kill(this.#isStopping ? 'SIGKILL' : 'SIGTERM');
    if (!this.#isStopping && this.#gateway !== undefined) this.#boundStop(this.#gateway);
    this.#isStopping = true;
    this.#wake?.();
  }

  /** A process whose disk does not answer cannot even exit. */
  #boundStop(gateway: ChildProcess): void {
    const { clock, log } = this.#options;
    const maxMs = GATEWAY_END_MAX_MS + (this.#isReady ? DRAIN_MAX_MS : 0);
    this.#cancelKill = clock.after(maxMs, () => {
      log.error('the gateway did not end in time and is killed', { maxMs });
      gateway.kill('SIGKILL');
    });
  }

  /** A call, because signals change it behind the compiler's back. */
  #isAskedToStop(): boolean {
    return this.#isStopping;
  }

  /** Has the gateway read keys and certificates again. */
  reload(): void {
    this.#gateway?.kill('SIGHUP');
  }

  #isFinal({ code }: GatewayExit): boolean {
    // A configuration that has worked before works again: its port may be taken for a moment.
    const isHopeless = code === EXIT_CONFIG && !this.#hasServed;
    return this.#isStopping || code === 0 || isHopeless;
  }

  /** A gateway that our SIGTERM ended before it listened for it had nothing to drain: it ended as it should. */
  #statusOf({ code, signal }: GatewayExit): number {
    if (code !== null) return code;
    return this.#isStopping && signal === 'SIGTERM' ? 0 : 1;
  }

  #runOnce(): Promise<GatewayExit> {
    const { modulePath, args } = this.#options;
    this.#isReady = false;
    return new Promise((resolve) => {
      const gateway = fork(modulePath, [...args, '--no-supervise', ...this.#portArgs], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      this.#gateway = gateway;
      gateway.on('message', (message: GatewayReady) => {
        this.#isReady = this.#hasServed = true;
        const { port, adminPort, voskPort } = message;
        this.#portArgs = ['--port', String(port), '--admin-port', String(adminPort)].concat(
          voskPort === undefined ? [] : ['--vosk-port', String(voskPort)],
        );
      });
      const settle = (exit: GatewayExit): void => {
        this.#gateway = undefined;
        this.#cancelKill?.();
        resolve(exit);
      };
      gateway.once('exit', (code, signal) => {
        settle({ code, signal });
      });
      gateway.once('error', (error) => {
        this.#options.log.error('the gateway cannot be started', { err: error });
        if (gateway.pid === undefined) settle({ code: 1, signal: null });
      });
    });
  }

  async #pause(exit: GatewayExit): Promise<void> {
    const { clock, random, log } = this.#options;
    this.#history = withDeath(this.#history, { atMs: clock.nowMs(), wasReady: this.#isReady });
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
