import type { InstanceCall } from "../../../lib/runner/instance/active-call.ts";
import { Instance } from "../../../lib/runner/instance/instance.ts";
import {
  NO_EXTRAS,
  PROTOCOL_VERSION,
  type ExitFrame,
  type GateFrame,
} from "../../../lib/runner/gate-protocol/frames.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { judge } from "../../../lib/runner/contracts/files.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";
import { FakeChannel, said } from "./fake-channel.ts";

export const READY = { type: "ready", version: PROTOCOL_VERSION, uid: 1000, gid: 1000 } as const;
export const EXPIRED = { type: "expired" } as const;

/** The end of a function that succeeded, with these changes. */
export function exitOf(changes: Partial<ExitFrame> = {}): ExitFrame {
  return exitFrame({ responseState: "fine", ...changes });
}

/** EXIT and RESPONSE, with this as the response. */
export function answerOf(response: string, changes: Partial<ExitFrame> = {}): GateFrame[] {
  const bytes = Buffer.from(response);
  return [exitOf({ responseBytes: bytes.length, ...changes }), { type: "response", bytes }];
}

export function logOf(text: string): GateFrame {
  return { type: "log", stream: "stdout", bytes: Buffer.from(text) };
}

/** An instance whose gate is played by the test. */
export class FakeGate {
  readonly clock = new FakeClock();
  readonly instance: Instance;
  readonly #channel = new FakeChannel();

  constructor() {
    this.instance = new Instance(this.#channel, this.clock);
  }

  /** Everything that the server has written since the last call began. */
  get written(): Buffer {
    return Buffer.concat(this.#channel.written);
  }

  /** The number of times that the channel was asked why it ended. */
  get asked(): number {
    return this.#channel.asked;
  }

  /** True if the server has closed the channel, which ends the container. */
  get closed(): boolean {
    return this.#channel.closed;
  }

  /** Sends frames in one chunk, and waits for their consequences. */
  async say(...frames: readonly GateFrame[]): Promise<void> {
    this.#channel.push(said(...frames));
    await settled();
  }

  /** Ends the container. */
  async hangUp(): Promise<void> {
    this.#channel.hangUp();
    await settled();
  }

  /** Hands the instance a call; bytes written to the gate are kept separately for each. */
  async serve(changes: Partial<InstanceCall> = {}): ReturnType<Instance["serve"]> {
    this.#channel.written.length = 0;
    return this.instance.serve({
      id: "id",
      body: new Uint8Array(0),
      body_file: false,
      extras: NO_EXTRAS,
      secrets: [],
      judge,
      timeout_ms: 1_000,
      response_limit: 1_000,
      log_limit: 1_000,
      again: true,
      context_root: "/context",
      signal: new AbortController().signal,
      ...changes,
    });
  }
}

/** A gate that has said READY. */
export async function readyGate(): Promise<FakeGate> {
  const gate = new FakeGate();
  await gate.say(READY);
  return gate;
}
