import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BootConversation, type BootFrame } from "../gate-protocol/boot-conversation.ts";
import type { ExitFrame } from "../gate-protocol/frames.ts";
import { type Channel, endedEarly, endedInCall, notReady } from "../platform.ts";
import type { AskingApp, ShutdownReason } from "./boot/asking-app.ts";
import { isTakenAway, limitsOf } from "./boot/call-limits.ts";
import { bootError, type BootPlan, notReadyInTime, type OnBoot, type SuccessfulBoot, untilReady } from "./boot-plan.ts";
import { type EarlierOutput, IdleOutput, joined, markedAsBoot, OutputSinceBoot } from "./idle-output.ts";
import { finish, REPORT_MS } from "./boot/finish.ts";
import type { Run } from "./instance.ts";
import type { InstanceState, PoolInstance } from "./pool-instance.ts";
import { NotDelivered } from "./boot/not-delivered.ts";
import { explainedBy, lostAnswer, ServedCall } from "./served-call.ts";
import type { AnswerListener, StreamCall } from "./stream-exchange.ts";
import { within } from "./boot/within.ts";

/**
 * One container whose function listens before it is called.
 *
 *     starting --READY--> booting --BOOTED--> ready <--serve(), ends--> busy --last call ends--> draining --EXIT--> retired
 *
 * - `starting`: its gate has not said READY.
 * - `booting`: the command runs and does not listen yet, or its `ready_path` does not answer. The end of the command, or
 *   silence until the deadline, retires the instance, and whoever waits for it gets an error with the last lines of its output.
 * - `ready`: it has no call. With `idle: "freeze"` its processes stand still.
 * - `busy`: it serves calls, each over a stream of its own.
 * - `draining`: it takes no further call. When the last has its answer, the function gets SIGTERM, and SIGKILL 100 ms later.
 * - `retired`: the channel is closed. The gate kills whatever runs and exits. Nothing leaves this state.
 */
export class BootedInstance implements PoolInstance {
  /** The function, if it is one that asks for its calls. */
  readonly app: AskingApp | undefined;
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #plan: BootPlan;
  readonly #conversation: BootConversation;
  readonly #up = Promise.withResolvers<void>();
  readonly #booted = Promise.withResolvers<void>();
  readonly #retired = Promise.withResolvers<void>();
  readonly #exit = Promise.withResolvers<ExitFrame | undefined>();
  readonly #idleOutput: IdleOutput;
  readonly #active = new Set<ServedCall>();
  /** The calls whose output still comes, the oldest first: also of those that have ended, until the gate or its end has confirmed that. */
  readonly #printing = new Set<ServedCall>();
  /** The call that is over when the gate has said how much memory it took. */
  #ending: ServedCall | undefined;
  #state: InstanceState = "starting";
  #calls = 0;
  /** The moment of READY, by the monotonic clock. */
  #readyAt = 0;
  #finishing = false;
  #shutdownReason: ShutdownReason = "spindown";
  #problem: unknown;
  #bootMs: number | undefined;
  #bootLogs: EarlierOutput | undefined;
  #sinceBoot: OutputSinceBoot | undefined;
  #cancelReport: () => void = () => undefined;

  /** Takes over the channel of an instance that has just been launched. */
  constructor(channel: Channel, clock: Clock, plan: BootPlan) {
    this.#channel = channel;
    this.#clock = clock;
    this.#plan = plan;
    this.app = plan.app;
    this.#idleOutput = new IdleOutput(() => clock.now(), plan.secrets);
    this.#conversation = new BootConversation(() => this.#flushSoon(), plan.app?.accept);
    for (const { promise } of [this.#up, this.#booted]) promise.catch(() => undefined); // `ready()` passes them on
    channel.read({
      onBytes: (bytes) => this.#read(bytes),
      onEnd: (why) => this.#lose(why),
      onBroken: (problem) => this.#break(problem),
    });
  }

  get state(): InstanceState {
    return this.#state;
  }

  get calls(): number {
    return this.#calls;
  }

  get free(): number {
    if (this.#state !== "ready" && this.#state !== "busy") return 0;
    const { concurrency, max_calls } = this.#plan;
    const streams = Math.min(concurrency, this.#conversation.mostStreams) - this.#active.size;
    return Math.max(0, max_calls === 0 ? streams : Math.min(streams, max_calls - this.#calls));
  }

  get retired(): Promise<void> {
    return this.#retired.promise;
  }

  /** The boot, when it is over: its duration in milliseconds, and what the function printed until then, and since. */
  get boot(): SuccessfulBoot | undefined {
    if (this.#bootMs === undefined) return undefined;
    return { boot_ms: this.#bootMs, logs: this.#bootLogs?.entries ?? [], since: this.#sinceBoot };
  }

  /**
   * Waits for READY for at most so many milliseconds, calls `onBoot`, and waits until the function has booted. Throws the error
   * that keeps it from that, a BootError if the function is the reason.
   */
  async ready(timeoutMs: number, signal: AbortSignal, onBoot: OnBoot = () => undefined): Promise<void> {
    const stopListening = onAbort(signal, () => this.#fail(signal.reason));
    try {
      await within(this.#clock, timeoutMs, this.#up.promise, () => notReady(timeoutMs));
      onBoot(() => this.retire());
      await this.#boot();
    } catch (error) {
      this.retire();
      throw error;
    } finally {
      stopListening();
    }
  }

  gone(): Promise<void> {
    return this.#channel.gone();
  }

  /**
   * Hands a call to the function. Settles with the head of the answer, or whatever ends the call before. Throws NotDelivered if
   * nothing has reached the function and the call is still whole.
   */
  async serve(call: StreamCall): Promise<Run> {
    if (this.free === 0) throw new NotDelivered(`The instance of the function is ${this.#state} and takes no call`);
    const limits = limitsOf(call, this.#readyAt);
    const served = this.#take(call);
    const refused = Promise.withResolvers<never>();
    const stops = [
      this.#clock.after(call.timeout_ms, () => this.#stop(served, "timed_out")),
      onAbort(call.signal, () => this.#stop(served, "cancelled", isTakenAway(call.signal))),
    ];
    void served.ended.finally(() => stops.forEach((stop) => stop()));
    if (!served.isOver) {
      const listener = this.#listener(served, (error) => refused.reject(error));
      if (this.app) this.#conversation.beginCall(limits);
      served.dialogue = call.begin((reader) => (served.stream = this.#conversation.open(reader, limits)), listener);
    }
    const outcome = await Promise.race([served.outcome, refused.promise]);
    return { outcome, over: served.over, ended: served.ended, reusable: served.reusable };
  }

  drain(reason: ShutdownReason = "spindown"): void {
    if (this.#state === "retired" || this.#state === "draining") return;
    if (this.#state !== "ready" && this.#state !== "busy") return this.retire();
    this.#state = "draining";
    this.#shutdownReason = reason;
    if (this.#active.size === 0) this.#finish();
  }

  retire(): void {
    if (this.#state === "retired") return;
    this.#state = "retired";
    this.#sinceBoot?.close();
    this.#cancelReport();
    this.#up.reject(new Error("the instance was retired"));
    this.#booted.reject(new Error("the instance was retired"));
    this.#conversation.lose();
    this.#channel.close();
    for (const call of this.#active) this.#settle(call, { kind: "cancelled" });
    this.#exit.resolve(undefined);
    for (const call of this.#printing) call.finish();
    this.#printing.clear();
    this.#retired.resolve();
  }

  async #boot(): Promise<void> {
    const { boot_timeout_ms, isReady } = this.#plan;
    const began = this.#clock.monotonic();
    // The gate has the same deadline, and knows what listens instead.
    await within(this.#clock, boot_timeout_ms + REPORT_MS, this.#booted.promise, () => notReadyInTime(this.#plan, []));
    const goesOn = () => this.#state === "booting";
    const isReadyNow = this.app?.asks ?? isReady?.((reader) => this.#conversation.open(reader), this.#clock, goesOn);
    if (isReadyNow !== undefined) {
      const ended = Promise.race([isReadyNow, this.#exit.promise.then(() => undefined)]);
      const left = Math.max(1, boot_timeout_ms - (this.#clock.monotonic() - began));
      await untilReady(ended, left, this.#clock, this.#plan, () => this.#idleOutput.take().entries);
      if (this.#state !== "booting") await Promise.reject(this.#problem ?? new Error("the instance was retired"));
    }
    if (this.app) this.#conversation.endCall();
    this.#bootMs = this.#clock.monotonic() - began;
    this.#bootLogs = markedAsBoot(this.#idleOutput.take());
    this.#sinceBoot = new OutputSinceBoot(this.#idleOutput);
    this.#state = "ready";
  }

  /** Begins to serve a call, which has the output so far. */
  #take(call: StreamCall): ServedCall {
    const isFirst = this.#calls === 0;
    this.#calls++;
    this.#state = "busy";
    // An app listens first and says so then: what comes before its first call is of its boot.
    if (isFirst) this.#sinceBoot?.close();
    const sinceThen = this.#idleOutput.take();
    const earlier = joined(this.#bootLogs, isFirst ? markedAsBoot(sinceThen) : sinceThen);
    this.#bootLogs = undefined;
    const served = new ServedCall(call, {
      now: () => this.#clock.now(),
      monotonic: () => this.#clock.monotonic(),
      secrets: this.#plan.secrets,
      command: this.#channel.command,
      earlier,
      boot_ms: isFirst ? this.#bootMs : undefined,
    });
    this.#active.add(served);
    this.#printing.add(served);
    return served;
  }

  #listener(served: ServedCall, refuse: (error: NotDelivered) => void): AnswerListener {
    return {
      answered: (answer) => served.answered(answer),
      delivered: (failure) => served.deliver(failure),
      ended: (last) => {
        if (last === true) this.drain();
        if (this.app) this.#endCall(served);
        else this.#settle(served, { kind: "answered" });
      },
      failed: ({ reason, message, lost }) => {
        // It is still at the call, and can take no other.
        if (this.app) this.drain("failure");
        if (lost) {
          const explained = explainedBy(this.#exit.promise, message, this.#clock);
          void explained.then((failure) => this.#settle(served, { kind: "failed", ...failure }));
        } else this.#settle(served, { kind: "failed", reason, message });
      },
      undelivered: (again) => {
        const message = "The function no longer listened when it was called";
        if (again) refuse(new NotDelivered(message));
        this.#settle(served, { kind: "failed", reason: "instance_lost", message });
        this.drain();
      },
      left: () => this.#stop(served, "cancelled"),
    };
  }

  /** Ends a call from outside. An instance that others use goes on, unless the call was taken away; after a timeout it takes no more. */
  #stop(served: ServedCall, kind: "timed_out" | "cancelled", isTaken = false): void {
    if (served.isOver) return;
    const isAlone = (this.#isLast || this.app) && this.#active.size === 1;
    if (kind === "cancelled" && (isAlone || isTaken)) return this.retire();
    if (kind === "timed_out") served.stream?.abandon();
    served.dialogue?.stop(new Error(kind === "timed_out" ? "The call ran past its timeout" : "The call was cancelled"));
    if (kind === "timed_out") this.drain("timeout");
    this.#settle(served, { kind });
  }

  #settle(served: ServedCall, verdict: Parameters<ServedCall["end"]>[0]): void {
    if (served.isOver) return;
    served.end(verdict);
    this.#active.delete(served);
    this.#endCall();
    if (this.#state === "busy" && this.#isLast) this.#state = "draining";
    if (this.#state === "draining" && this.#active.size === 0) return this.#finish();
    if (this.#state === "busy" && this.#active.size === 0) this.#state = "ready";
    const takesMore = this.#state === "ready" || this.#state === "busy";
    served.close(takesMore, () => this.#printing.delete(served));
  }

  /** Tells the gate of an app that asks for its calls that the call is over. `served` is settled when the gate has said what it took. */
  #endCall(served?: ServedCall): void {
    this.#ending = served;
    if (this.app) this.#conversation.endCall();
  }

  /** True if all calls that the instance may serve have begun. */
  get #isLast(): boolean {
    const { max_calls } = this.#plan;
    return this.#state === "draining" || (max_calls > 0 && this.#calls >= max_calls);
  }

  #finish(): void {
    if (this.#finishing) return;
    this.#finishing = true;
    const reportMs = finish(this.#conversation, this.app, this.#shutdownReason);
    this.#cancelReport = this.#clock.after(reportMs, () => this.retire());
  }

  #read(bytes: Uint8Array): void {
    if (this.#state === "retired") return;
    try {
      for (const frame of this.#conversation.push(bytes)) {
        // A reader may have retired the instance.
        if (this.state === "retired") return;
        this.#accept(frame);
      }
    } catch (error) {
      this.#break(messageOf(error));
    }
  }

  #accept(frame: BootFrame): void {
    switch (frame.type) {
      case "ready": {
        if (this.#conversation.state !== "ready") throw new Error(`its gate speaks version ${frame.version}`);
        const problem = this.#channel.accept(frame);
        if (problem !== undefined) return this.#fail(problem);
        this.#state = "booting";
        this.#readyAt = this.#clock.monotonic();
        this.#conversation.boot(this.#plan.request, this.#plan.extras);
        return this.#up.resolve();
      }
      case "booted":
        return this.#booted.resolve();
      case "expired":
        return this.#active.forEach((call) => call.isLate && this.#stop(call, "timed_out"));
      case "used":
        this.#ending?.report(frame.peakBytes);
        return this.#ending && this.#settle(this.#ending, { kind: "answered" });
      case "log":
        return this.#logger.log(frame.stream, frame.bytes);
      case "tail":
        return this.#logger.logTail(frame.stream, frame.bytes, frame.age_ms);
      case "extensions":
        return this.app?.extensionsStarted(frame, () => this.#conversation.start());
      case "extension_end":
        if (this.#state === "ready" || this.#state === "busy") this.drain("failure");
        return this.app?.extensionEnded(frame);
      case "failed":
      case "not_listening":
        return this.#fail(bootError(frame, this.#plan, this.#channel.command, this.#idleOutput.take().entries));
      case "exit":
        return this.#end(frame);
      default:
        throw new Error(`${frame.type} came from a gate that boots its command`);
    }
  }

  /** The place of output: the oldest call whose output still comes, or nobody's yet. */
  get #logger(): Pick<ServedCall, "log" | "logTail"> {
    const [call] = this.#printing;
    return call ?? this.#idleOutput;
  }

  /** Takes the end of the command. */
  #end(exit: ExitFrame): void {
    if (this.#state === "starting" || this.#state === "booting") {
      return this.#fail(bootError(exit, this.#plan, this.#channel.command, this.#idleOutput.take().entries));
    }
    const endedByUs = this.#finishing && exit.oomKills === 0;
    this.#exit.resolve(exit);
    for (const call of this.#active) {
      const failure = lostAnswer("The function closed the connection", exit);
      call.dialogue?.stop(new Error(failure.message));
      call.end({ kind: "failed", ...failure }, this.app && exit);
    }
    this.#active.clear();
    for (const call of this.#printing) call.finish(exit, endedByUs);
    this.retire();
  }

  /** Frames of one turn go together, as each write wakes two processes of the engine; the end of a stream goes behind the answer. */
  #flushSoon(): void {
    if (this.#active.size === 1 && this.#conversation.openStreams > 0) queueMicrotask(() => this.#flush());
    else setImmediate(() => this.#flush());
  }

  #flush(): void {
    const bytes = this.#conversation.take();
    if (bytes !== undefined && this.#state !== "retired") this.#channel.write(bytes);
  }

  /** Ends an instance that cannot be used. */
  #fail(error: unknown): void {
    this.#problem = error;
    this.#up.reject(error);
    this.#booted.reject(error);
    if (error instanceof AppError && error.reason === "instance_lost") this.#channel.reject();
    this.retire();
  }

  #break(problem: string): void {
    const message = `The function's container broke the protocol: ${problem}`;
    for (const call of this.#active) this.#settle(call, { kind: "failed", reason: "instance_lost", message });
    this.#fail(new AppError("instance_lost", message));
  }

  /** Ends an instance whose channel the other side closed. The platform knows why. */
  #lose(why: string): void {
    if (this.#state === "retired") return;
    const waits = this.#state === "starting" || this.#state === "booting";
    const lost = [...this.#active];
    if (!waits && lost.length === 0) return this.retire();
    // It takes no call while the engine finds out how the container has ended.
    if (!waits) this.#state = "draining";
    for (const call of lost) call.dialogue?.stop(new Error("The function's container ended"));
    void this.#channel.ended().then((ending) => {
      if (waits) return this.#fail(endedEarly(ending, why));
      for (const call of lost) this.#settle(call, { kind: "failed", ...endedInCall(ending) });
      this.retire();
    });
  }
}
