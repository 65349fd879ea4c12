import type { BootConversation, BootFrame } from "../../../lib/runner/gate-protocol/boot-conversation.ts";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { StreamReader, StreamReset } from "../../../lib/runner/gate-protocol/instance-stream.ts";
import { encodeGateFrame } from "../../gate/support/gate-frames.ts";

/** Remembers what a stream tells: its bytes as text, "room", "end", or the reset. */
export class Recorder implements StreamReader {
  readonly events: (string | StreamReset)[] = [];

  onBytes(bytes: Uint8Array): void {
    this.events.push(Buffer.from(bytes).toString());
  }

  onRoom(): void {
    this.events.push("room");
  }

  onEnd(): void {
    this.events.push("end");
  }

  onReset(error: StreamReset): void {
    this.events.push(error);
  }
}

/** Hands the frames over in one chunk; returns what they say of the instance. */
export function say(conversation: BootConversation, ...frames: readonly GateFrame[]): BootFrame[] {
  return [...conversation.push(Buffer.concat(frames.map(encodeGateFrame)))];
}

/** Takes what is to be written, as frames: the type and the payload of each. */
export function serverFrames(conversation: BootConversation): [number, Buffer][] {
  const bytes = Buffer.from(conversation.take() ?? []);
  const frames: [number, Buffer][] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at + 1);
    frames.push([bytes.readUInt8(at), bytes.subarray(at + 5, at + 5 + length)]);
    at += 5 + length;
  }
  return frames;
}
