import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { SecretValues } from "../domain/secrets.ts";
import { timestamp } from "../domain/types.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { HTTP } from "./contracts/http.ts";
import { LAMBDA } from "./contracts/lambda/lambda.ts";
import type { BootPlan } from "./instance/boot-plan.ts";
import { BootError } from "./instance/boot-error.ts";
import type { OnBoot } from "./instance/boot-plan.ts";
import { BootedInstance } from "./instance/booted-instance.ts";
import { Instance } from "./instance/instance.ts";
import type { PoolInstance } from "./instance/pool-instance.ts";
import { LastBoots } from "./last-boots.ts";
import type { Platform } from "./platform.ts";

interface StarterDeps {
  readonly platform: Pick<Platform, "launch">;
  /** The time that an instance has until its gate says READY, in milliseconds. */
  readonly ready_timeout_ms: number;
  readonly log_bytes: number;
  /** Returns the current values of a function's secrets, for instances that boot. Throws if one is missing. */
  readonly secretsFor: (fn: Function) => SecretValues;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "bootSeconds" | "bootFailures">;
  /** Aborts at the end of the server. A caller that goes away ends no start: the instance serves the next one. */
  readonly signal: AbortSignal;
}

type BootEnd = BootError | BootedInstance["boot"];
type NoteBoot = (end: BootEnd) => void;

/** Starts instances, and waits until they can serve a call. */
export class InstanceStarter {
  /** The last boots of functions of the contract `http`. */
  readonly lastBoots = new LastBoots();
  readonly #deps: StarterDeps;

  constructor(deps: StarterDeps) {
    this.#deps = deps;
  }

  /**
   * Starts an instance; `onBoot` is called when its function boots. One that is lost before it is ready is started once more:
   * no call has reached its gate. Throws a `BootError` if the function does not boot, and the platform's errors.
   */
  start(fn: Function, group: string, onBoot: OnBoot): Promise<PoolInstance> {
    return this.#start(fn, group, (end) => this.#note(fn, end), onBoot);
  }

  /** Does the same for a trial, whose boot is not one of the function's: it may never be one, or stay as it is. */
  trial(fn: Function, group: string): Promise<PoolInstance> {
    return this.#start(fn, group, () => undefined);
  }

  async #start(fn: Function, group: string, note: NoteBoot, onBoot?: OnBoot): Promise<PoolInstance> {
    try {
      return await this.#once(fn, group, note, onBoot);
    } catch (error) {
      if (!(error instanceof AppError && error.reason === "instance_lost")) throw error;
      this.#deps.log.warn("a container ended before it was ready, trying once more", {
        function_id: fn.id,
        problem: messageOf(error),
      });
      return this.#once(fn, group, note, onBoot);
    }
  }

  async #once(fn: Function, group: string, note: NoteBoot, onBoot?: OnBoot): Promise<PoolInstance> {
    const { platform, clock, signal, ready_timeout_ms } = this.#deps;
    // Before a container is started that could not get its secrets.
    const plan = this.#planOf(fn);
    const channel = await platform.launch(fn, group, signal);
    if (plan === undefined) {
      const instance = new Instance(channel, clock);
      await instance.ready(ready_timeout_ms, signal);
      return instance;
    }
    const instance = new BootedInstance(channel, clock, plan.app ? LAMBDA.withHandler(plan, channel.command) : plan);
    try {
      await instance.ready(ready_timeout_ms, signal, onBoot);
    } catch (error) {
      if (error instanceof BootError) note(error);
      throw error;
    }
    note(instance.boot);
    return instance;
  }

  /** Returns how a function boots, or nothing if it starts with its call. */
  #planOf(fn: Function): BootPlan | undefined {
    if (fn.contract === "http") return HTTP.plan(fn, this.#deps.secretsFor(fn), this.#deps);
    return fn.contract === "lambda" ? LAMBDA.plan(fn, this.#deps.secretsFor(fn), this.#deps) : undefined;
  }

  #note(fn: Function, end: BootEnd): void {
    const { clock, metrics } = this.#deps;
    const failure = end instanceof BootError ? end : undefined;
    const boot_ms = end instanceof BootError ? null : (end?.boot_ms ?? null);
    if (boot_ms !== null) metrics.bootSeconds.observe({ function: fn.name ?? fn.id }, boot_ms / 1000);
    if (failure !== undefined) metrics.bootFailures.inc({ reason: failure.reason });
    const boot = {
      version: fn.version,
      ended_at: timestamp(clock.now()),
      boot_ms,
      problem: failure?.message ?? null,
      logs: (end?.logs ?? []).map(({ boot: _boot, ...entry }) => entry),
    };
    this.lastBoots.note(fn.id, boot, end instanceof BootError ? undefined : end?.since);
  }
}
