import { Duplex } from "node:stream";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { encodeGateFrame } from "../../gate/support/gate-frames.ts";

/** An attach stream whose other end is the test. */
export class FakeStream extends Duplex {
  readonly written: Buffer[] = [];

  override _read(): void {
    // What the test pushes is all there is.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.written.push(chunk);
    done();
  }
}

/** Bytes as the engine wraps what a container prints. */
export function wrapped(bytes: Uint8Array, stream: 0 | 1 | 2 = 1): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

/** Frames of the gate as they come out of the engine. */
export function said(...frames: readonly GateFrame[]): Buffer {
  return Buffer.concat(frames.map((frame) => wrapped(encodeGateFrame(frame))));
}
