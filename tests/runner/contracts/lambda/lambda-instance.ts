import { bytesOf } from "../../../../lib/domain/calls/http-message.ts";
import { RAW_EVENT } from "../../../../lib/runner/contracts/lambda/event.ts";
import { LambdaApp } from "../../../../lib/runner/contracts/lambda/lambda-app.ts";
import type { AnswerListener, Dialogue, StreamAnswer } from "../../../../lib/runner/instance/stream-exchange.ts";
import { systemClock } from "../../../../lib/clock.ts";
import { BootGate, type BootOptions } from "../../../gate/boot/boot-gate.ts";
import { type Programs, withExtensions } from "../../../gate/boot/extension-programs.ts";
import { freePort } from "../../../support/ports/free-port.ts";

/** A runtime behind a gate, as a plain process, and the Runtime API that it finds. */
export class LambdaInstance implements AsyncDisposable {
  readonly app: LambdaApp;
  readonly gate: BootGate;

  private constructor(app: LambdaApp, gate: BootGate) {
    this.app = app;
    this.gate = gate;
  }

  /** Starts a command, whose variable `API` is the address of the Runtime API. */
  static start(...command: readonly string[]): Promise<LambdaInstance> {
    return LambdaInstance.startBeside({}, command);
  }

  /** The same, with these extensions. */
  static async startBeside(programs: Programs, command: readonly string[]): Promise<LambdaInstance> {
    const port = freePort();
    const app = new LambdaApp(systemClock, { functionName: "tested", functionVersion: "3", handler: "app.handler" });
    const environment = { API: `127.0.0.1:${port}`, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}` };
    const prefix = Object.keys(programs).length === 0 ? [] : withExtensions(programs);
    const hears: BootOptions["hears"] = (frame, conversation) => {
      if (frame.type === "extensions") app.extensionsStarted(frame, () => conversation.start());
      if (frame.type === "extension_end") app.extensionEnded(frame);
    };
    const options = { serve: true, accepts: app.accept, environment, prefix, hears };
    const gate = await BootGate.booted(command, port, options);
    return new LambdaInstance(app, gate);
  }

  /** Waits until the runtime asks for its first call. */
  async ready(): Promise<this> {
    await this.app.asks;
    return this;
  }

  call(event: unknown, id = "call-1"): LambdaCallOfTest {
    return new LambdaCallOfTest(this.app, event, id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.gate[Symbol.asyncDispose]();
  }
}

const HEADERS = [
  ["Lambda-Runtime-Invoked-Function-Arn", "arn:of:test"],
  ["Lambda-Runtime-Trace-Id", "Root=1"],
] as const;

/** One call, and what was said of it. */
export class LambdaCallOfTest implements AnswerListener {
  readonly #answer = Promise.withResolvers<StreamAnswer>();
  readonly #delivered = Promise.withResolvers<{ readonly message: string } | undefined>();
  readonly #ended = Promise.withResolvers<"next" | "last">();
  readonly dialogue: Dialogue;

  constructor(app: LambdaApp, event: unknown, id: string) {
    for (const { promise } of [this.#answer, this.#ended]) promise.catch(() => undefined);
    this.dialogue = app.serve(
      { id, event: Buffer.from(JSON.stringify(event)), form: RAW_EVENT, headers: HEADERS, timeout_ms: 30_000 },
      this,
    );
  }

  readonly answered = (answer: StreamAnswer): void => this.#answer.resolve(answer);
  readonly delivered = (failure?: { readonly message: string }): void => this.#delivered.resolve(failure);
  readonly ended = (last?: boolean): void => this.#ended.resolve(last === true ? "last" : "next");
  readonly failed = ({ reason, message }: { readonly reason: string; readonly message: string }): void => {
    const error = new Error(`${reason}: ${message}`);
    this.#answer.reject(error);
    this.#ended.reject(error);
  };
  readonly undelivered = (): void => this.#answer.reject(new Error("undelivered"));
  readonly left = (): void => this.dialogue.stop(new Error("left"));

  get answer(): Promise<StreamAnswer> {
    return this.#answer.promise;
  }

  /** Settles when the answer is whole, with what it failed with in its middle. */
  get whole(): Promise<{ readonly message: string } | undefined> {
    return this.#delivered.promise;
  }

  /** Settles at the end of the call: the runtime has asked for the next one, or has not in time. */
  get end(): Promise<"next" | "last"> {
    return this.#ended.promise;
  }

  /** The body of the answer, once it is whole. */
  async text(): Promise<string> {
    return Buffer.from(await bytesOf((await this.answer).response.body)).toString();
  }
}
