import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../../domain/limits.ts";
import { ActiveCall, type InstanceCall } from "./active-call.ts";
import { withinMs } from "./boot/call-limits.ts";
import { GateConversation } from "../gate-protocol/conversation.ts";
import type { GateFrame } from "../gate-protocol/frames.ts";
import { Upload } from "../gate-protocol/upload.ts";
import { type Channel, endedEarly, endedInCall, notReady } from "../platform.ts";
import type { OutputListener } from "./output-reader.ts";
import type { InstanceState, PoolInstance } from "./pool-instance.ts";
import { cancelled, failed, judgeFailed, type Outcome, timedOut } from "./outcome.ts";

/** The answer of a run, or its head, and its final outcome, which comes later if the answer streams or the function is still being ended. */
export interface Run {
  readonly outcome: Outcome;
  /** Settles when the function is over with the call: another may have its place. */
  readonly over: Promise<unknown>;
  /** Settles when all of the call's output has come, too. */
  readonly ended: Promise<Outcome>;
  /** Settles with whether the instance is ready for another call. */
  readonly reusable: Promise<boolean>;
}

/** The time that a gate has to clean up after a call, in milliseconds. */
const RESET_MS = 5_000;
/**
 * The time from the complete answer of a last call to the end of the container, in milliseconds: ending it keeps the
 * engine and both cores busy, and the answer should be sent first. The gate waits 50 ms for the end of its stdin.
 */
const LINGER_MS = 5;

/**
 * One container with its gate.
 *
 *     starting --READY--> ready --serve()--> busy --EXIT and RESPONSE--> retired
 *                           ^                  |
 *                           +--READY-- resetting     if another call may follow
 *
 * - `starting`: it was launched, and its gate has not said READY. Any other frame, the end of the channel, or silence
 *   until the deadline retires it, and the caller that waits for it gets an error.
 * - `ready`: it waits for a call. Any frame, or the end of the channel, retires it.
 * - `busy`: it serves one call, whose answer may begin before its end. The call ends by EXIT with its whole RESPONSE, by FAILED, by EXPIRED, by the server's
 *   own timer when the gate has not said EXPIRED, by the caller's signal, by the end of the channel or by a frame that
 *   breaks the protocol. After EXPIRED the gate has the grace period to end the function; what it reports then still goes
 *   into the record.
 * - `resetting`: the call has its answer, and the gate cleans up after it. READY makes the instance ready again; anything
 *   else, or silence until the deadline, retires it.
 * - `retired`: the channel is closed, or about to be if the call has its complete answer. The gate then kills whatever
 *   runs and exits, and the platform cleans up. Frames that come now are ignored. Nothing leaves this state.
 */
export class Instance implements PoolInstance {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #conversation = new GateConversation();
  readonly #ready = Promise.withResolvers<void>();
  /** The moment of the last READY, by the monotonic clock. */
  #readyAt = 0;
  readonly #retired = Promise.withResolvers<void>();
  #state: InstanceState = "starting";
  #call: ActiveCall | undefined;
  #calls = 0;
  #drained = false;
  #cancelLinger: () => void = () => undefined;

  /** Takes over the channel of an instance that has just been launched. */
  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
    this.#ready.promise.catch(() => undefined); // `ready()` passes it on to its caller, if there is one
    channel.read({
      onBytes: (bytes) => this.#read(bytes),
      onEnd: (why) => this.#lose(why),
      onBroken: (problem) => this.#break(problem),
    });
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** The number of calls that it was handed. */
  get calls(): number {
    return this.#calls;
  }

  get free(): number {
    return this.#state === "ready" ? 1 : 0;
  }

  /** Settles when the instance has been retired. */
  get retired(): Promise<void> {
    return this.#retired.promise;
  }

  /** Waits for READY for at most so many milliseconds. */
  async ready(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const cancel = this.#clock.after(timeoutMs, () => this.#ready.reject(notReady(timeoutMs)));
    const stopListening = onAbort(signal, () => this.#ready.reject(signal.reason));
    try {
      await this.#ready.promise;
    } catch (error) {
      this.retire();
      throw error;
    } finally {
      cancel();
      stopListening();
    }
  }

  /** Settles when nothing of the instance is left. */
  gone(): Promise<void> {
    return this.#channel.gone();
  }

  /**
   * Hands a call to the gate. Never throws once the first byte is sent: whatever happens then is an outcome. Throws NotDelivered if it
   * has been ready for so long that the gate cannot be told how soon the call must come; it is of no use then.
   */
  async serve(call: InstanceCall): Promise<Run> {
    const within = call.by === undefined ? {} : { withinMs: withinMs(call.by, this.#readyAt) };
    this.#transition("ready", "busy");
    const active = new ActiveCall(call, this.#channel.command, this.#clock);
    this.#call = active;
    this.#calls++;
    const expire = () => this.#expire(active);
    const cancelTimer = this.#clock.after(call.timeout_ms + TIMEOUT_SLACK_MS, expire);
    const onGone = () => active.answered || this.#settle(active, cancelled(active.facts));
    call.signal.addEventListener("abort", onGone, { once: true });
    const request = {
      id: call.id,
      contextRoot: call.context_root,
      timeoutMs: call.timeout_ms,
      graceMs: KILL_GRACE_MS,
      ...within,
      responseLimit: call.response_limit,
      logLimit: call.log_limit,
      again: call.again,
      bodyFile: call.body_file,
      ...(call.readOutput !== undefined && { streamed: true }),
    };
    if (call.readOutput !== undefined) active.readOutput(call.readOutput, this.#outputListener(active));
    const whole = call.body instanceof Uint8Array ? call.body : undefined;
    for (const piece of this.#conversation.call(request, whole, call.extras)) this.#channel.write(piece);
    if (call.body instanceof ReadableStream) this.#upload(active, call.body);
    if (call.signal.aborted) onGone();
    const stopListening = () => {
      cancelTimer();
      call.signal.removeEventListener("abort", onGone);
    };
    try {
      const { ended, reusable } = active;
      return { outcome: await active.outcome, over: ended, ended, reusable };
    } finally {
      // The answer may have begun only.
      if (active.answered) stopListening();
      else void active.ended.then(stopListening, stopListening);
    }
  }

  /** Serves no call after the one that it has. */
  drain(): void {
    this.#drained = true;
    if (this.#state !== "busy" && this.#state !== "resetting") this.retire();
  }

  /** Ends the instance in any state. */
  retire(): void {
    this.#ready.reject(new Error("the instance was retired"));
    this.#close();
    this.#cancelLinger();
    this.#channel.close();
  }

  #close(lingerMs = 0): void {
    if (this.#state === "retired") return;
    this.#transition(this.#state, "retired");
    if (lingerMs > 0) this.#cancelLinger = this.#clock.after(lingerMs, () => this.#channel.close());
    else this.#channel.close();
    this.#call?.reset(false);
    this.#retired.resolve();
  }

  #transition(from: InstanceState, to: InstanceState): void {
    if (this.#state !== from || from === "retired")
      throw new Error(`An instance that is ${this.#state} cannot become ${to}`);
    this.#state = to;
  }

  #read(bytes: Uint8Array): void {
    if (this.state === "retired") return;
    try {
      for (const frame of this.#conversation.push(bytes)) {
        if (this.#state === "retired") return;
        this.#take(frame);
      }
    } catch (error) {
      this.#break(messageOf(error));
    }
  }

  #take(frame: GateFrame): void {
    if (frame.type === "ready") {
      // A gate of another version says so, and its conversation is over.
      if (this.#conversation.state !== "ready") throw new Error(`its gate speaks version ${frame.version}`);
      const problem = this.#channel.accept(frame);
      return problem === undefined ? this.#becomeReady() : this.#fail(problem);
    }
    const call = this.#call;
    if (call === undefined) throw new Error(`${frame.type} came before a request`);
    call.take(frame);
    // An output that can be no answer ends its call.
    if (this.state === "retired") return;
    if (this.#conversation.owes) this.#sendRest(call);
    if (frame.type === "failed") this.#settle(call, judgeFailed(frame, call.facts));
    else if (frame.type === "expired") call.answer(timedOut(call.facts), this.#endAfterGrace(call));
    else if (this.#conversation.answered) this.#conclude(call);
  }

  /** Hears of the answer that a function prints while it runs. */
  #outputListener(call: ActiveCall): Omit<OutputListener, "begun"> {
    return {
      consumed: (bytes) => {
        // The output of a call before it needs no credit any more.
        const frame = this.#call === call ? this.#conversation.consumed(bytes) : undefined;
        if (frame !== undefined && this.#state === "busy") this.#channel.write(frame);
      },
      failed: (reason, message) => this.#settle(call, failed(call.facts, reason, message)),
      left: () => call.answered || this.#settle(call, cancelled(call.facts)),
    };
  }

  /** Sends a body that is still arriving, as the function reads it. */
  #upload(call: ActiveCall, body: ReadableStream<Uint8Array>): void {
    call.upload = new Upload(body, {
      onPiece: (piece) => {
        for (const frame of this.#conversation.add(piece)) this.#channel.write(frame);
        if (this.#conversation.wantsMore) call.upload?.next();
      },
      // The sender of the request is gone, or it was refused: the call's signal says so, too.
      onFailure: () => call.answered || this.#settle(call, cancelled(call.facts)),
    });
    call.upload.next();
  }

  /** Sends more of a body that the function reads while it runs. */
  #sendRest(call: ActiveCall): void {
    for (const piece of this.#conversation.rest()) this.#channel.write(piece);
    if (this.#conversation.wantsMore) call.upload?.next();
  }

  /** Takes the complete answer of a call. */
  #conclude(call: ActiveCall): void {
    const outcome = this.#judge(call);
    call.answer(outcome);
    if (!this.#mayServeAgain(call)) return this.#close(LINGER_MS);
    this.#transition("busy", "resetting");
    const cancel = this.#clock.after(RESET_MS, () => this.retire());
    void call.reusable.then(cancel);
  }

  /** False after memory ran out: the engine marks the whole container, and any later end would be blamed on memory. */
  #mayServeAgain({ exit }: ActiveCall): boolean {
    return this.#conversation.state === "resetting" && exit?.oomKills === 0 && !this.#drained;
  }

  #becomeReady(): void {
    const call = this.#call;
    this.#call = undefined;
    this.#transition(call === undefined ? "starting" : "resetting", "ready");
    this.#readyAt = this.#clock.monotonic();
    this.#ready.resolve();
    call?.reset(!this.#drained);
    if (this.#drained) this.retire();
  }

  #judge(call: ActiveCall): Outcome {
    if (call.exit === undefined || this.#conversation.expired) return timedOut(call.facts, call.exit);
    return call.judge(call.exit, this.#conversation);
  }

  /** Waits for the report of a gate that has sent SIGTERM: the function ends, or is killed after the grace period. */
  async #endAfterGrace(call: ActiveCall): Promise<Outcome> {
    const cancel = this.#clock.after(KILL_GRACE_MS + TIMEOUT_SLACK_MS, () => this.retire());
    await this.#retired.promise;
    cancel();
    return timedOut(call.facts, call.exit);
  }

  /** Ends a call whose deadline has passed without a word from the gate. */
  #expire(call: ActiveCall): void {
    this.#settle(call, timedOut(call.facts));
  }

  /** Ends the call without an answer of its function, and the instance with it. */
  #settle(call: ActiveCall, outcome: Outcome): void {
    call.answer(outcome);
    this.retire();
  }

  #break(problem: string): void {
    const message = `The function's container broke the protocol: ${problem}`;
    const call = this.#call;
    if (call && !call.answered) this.#settle(call, failed(call.facts, "instance_lost", message));
    else if (this.#state === "starting") this.#fail(new AppError("instance_lost", message));
    else this.retire();
  }

  /** Ends an instance that was not ready yet, or is not acceptable now. */
  #fail(error: AppError): void {
    this.#ready.reject(error);
    if (error.reason === "instance_lost") this.#channel.reject();
    this.retire();
  }

  /** Ends an instance whose channel the other side closed. If a call has no answer yet, the platform knows why. */
  #lose(why: string): void {
    if (this.#state === "retired") return;
    const call = this.#call;
    const starting = this.#state === "starting";
    this.#close();
    if (starting) void this.#channel.ended().then((ending) => this.#fail(endedEarly(ending, why)));
    if (call === undefined || call.answered) return;
    const explained = this.#explainLoss(call);
    call.answer(explained);
  }

  async #explainLoss({ facts }: ActiveCall): Promise<Outcome> {
    const { reason, message } = endedInCall(await this.#channel.ended());
    return failed(facts, reason, message);
  }
}
