import { AppError } from "../../../lib/domain/errors.ts";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { Channel, ChannelReader, Ending } from "../../../lib/runner/platform.ts";
import { encodeGateFrame } from "../../gate/support/gate-frames.ts";

/** A channel whose other end is the test. */
export class FakeChannel implements Channel {
  readonly id = "container";
  readonly command: readonly string[] = ["command"];
  readonly written: Uint8Array[] = [];
  ending: Ending = { how: "died" };
  /** The number of times that `ended()` was called. */
  asked = 0;
  /** The uid that the platform does not accept. */
  refused: number | undefined = -1;
  closed = false;
  rejected = false;
  #reader: ChannelReader | undefined;

  accept({ uid }: { readonly uid?: number }): AppError | undefined {
    return uid === this.refused ? new AppError("entrypoint_failed", `user ${uid}`) : undefined;
  }

  read(reader: ChannelReader): void {
    this.#reader = reader;
  }

  write(bytes: Uint8Array): void {
    this.written.push(bytes);
  }

  close(): void {
    this.closed = true;
  }

  reject(): void {
    this.rejected = true;
    this.closed = true;
  }

  async ended(): Promise<Ending> {
    this.asked++;
    return this.ending;
  }

  gone(): Promise<void> {
    return Promise.resolve();
  }

  /** Delivers bytes of the gate, even after the instance has closed the channel. */
  push(bytes: Uint8Array): void {
    this.#reader?.onBytes(bytes);
  }

  /** Loses the connection, or ends the instance. */
  hangUp(why = "its stream ended"): void {
    this.#reader?.onEnd(why);
  }

  /** Delivers bytes that make no sense. */
  garble(problem: string): void {
    this.#reader?.onBroken(problem);
  }
}

/** Frames of the gate as they come out of a channel. */
export function said(...frames: readonly GateFrame[]): Buffer {
  return Buffer.concat(frames.map((frame) => encodeGateFrame(frame)));
}
