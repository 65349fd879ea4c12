import { expect, test } from "bun:test";
import fc from "fast-check";
import { BootConversation } from "../../../lib/runner/gate-protocol/boot-conversation.ts";
import { CREDIT_FROM_APP, CREDIT_TO_APP } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { PROTOCOL_VERSION, ProtocolError, type GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { InstanceStream, StreamReader } from "../../../lib/runner/gate-protocol/instance-stream.ts";
import { say, serverFrames } from "./boot-support.ts";

/** The gate's view of a stream: what it may still say. */
interface GateSide {
  /** Bytes that it may send. */
  credit: number;
  /** Bytes that the server may send. */
  room: number;
  /** Bytes that it has got and has not given credit for. */
  held: number;
  got: number;
  ended: boolean;
  used: boolean;
}

/** The server's view: what a reader has heard of. */
class ServerSide implements StreamReader {
  stream: InstanceStream | undefined;
  written = 0;
  received = 0;
  pending = 0;
  state: "open" | "ended" | "closed" | "reset" = "open";

  onBytes(bytes: Uint8Array): void {
    expect(this.state).toBe("open");
    this.received += bytes.length;
    this.pending += bytes.length;
  }

  onRoom(): void {
    expect(["open", "ended"]).toContain(this.state);
  }

  onEnd(): void {
    expect(this.state).toBe("open");
    this.state = "ended";
  }

  onReset(): void {
    expect(["open", "ended"]).toContain(this.state);
    this.state = "reset";
  }
}

const MOST = 3;

/** A gate that keeps to the protocol, and a server that does as it likes, step by step. */
class Pair {
  readonly conversation = new BootConversation(() => undefined);
  readonly gate = new Map<number, GateSide>();
  readonly server: ServerSide[] = [];

  constructor() {
    const user = { uid: 0, gid: 0, surroundings: "processes", why: "" } as const;
    say(this.conversation, { type: "ready", version: PROTOCOL_VERSION, ...user });
    this.conversation.boot({ freeze: false, bootTimeoutMs: 1, logLimit: 0, ports: [1] });
    say(this.conversation, { type: "booted", bootUs: 1, address: "::1", port: 1, streams: MOST });
    this.conversation.take();
  }

  /** One move of the server, and what the gate gets of it. */
  serve(kind: "open" | "write" | "consume" | "close", which: number, bytes: number): void {
    const side = this.server.filter(({ state }) => state === "open" || state === "ended").at(which % MOST);
    if (kind === "open" && this.conversation.openStreams < MOST) {
      const opened = new ServerSide();
      opened.stream = this.conversation.open(opened);
      this.server.push(opened);
    } else if (side === undefined) {
      return;
    } else if (kind === "write") {
      side.stream?.write(new Uint8Array(bytes));
      side.written += bytes;
    } else if (kind === "consume") {
      const now = Math.min(side.pending, bytes);
      side.pending -= now;
      side.stream?.consumed(now);
    } else if (kind === "close") {
      side.state = "closed";
      side.stream?.close();
    }
    for (const [type, payload] of serverFrames(this.conversation)) this.#hear(type, payload);
  }

  #hear(type: number, payload: Buffer): void {
    const number = payload.readUInt32BE(0);
    const side = this.gate.get(number);
    if (type === 0x06) {
      expect(side).toBeUndefined();
      expect(this.gate.size).toBeLessThan(MOST);
      this.gate.set(number, {
        credit: CREDIT_FROM_APP,
        room: CREDIT_TO_APP,
        held: 0,
        got: 0,
        ended: false,
        used: false,
      });
    } else if (type === 0x07 && side !== undefined) {
      side.room -= payload.length - 4;
      side.held += payload.length - 4;
      side.got += payload.length - 4;
      expect(side.room).toBeGreaterThanOrEqual(0);
    } else if (type === 0x08 && side !== undefined) {
      side.credit += payload.readUInt32BE(4);
      expect(side.credit).toBeLessThanOrEqual(CREDIT_FROM_APP);
    } else if (type === 0x09 && side !== undefined) {
      this.gate.delete(number);
      say(this.conversation, { type: "close", stream: number, ending: "reset", errno: 0 });
    }
  }

  /** A move of the gate that the protocol allows, if there is one of that kind. */
  allowed(kind: "data" | "credit" | "end" | "reset", which: number, bytes: number): GateFrame | undefined {
    const [stream, side] = [...this.gate].at(which % MOST) ?? [];
    if (stream === undefined || side === undefined) return undefined;
    const most = Math.min(bytes, kind === "data" ? side.credit : side.held);
    if (kind === "reset") {
      this.gate.delete(stream);
      return { type: "close", stream, ending: side.used || side.got > 0 ? "reset" : "unconnected", errno: 104 };
    }
    if (kind !== "credit" && side.ended) return undefined;
    if (kind !== "end" && most === 0) return undefined;
    side.used = true;
    if (kind === "end") {
      side.ended = true;
      return { type: "close", stream, ending: "end", errno: 0 };
    }
    if (kind === "data") {
      side.credit -= most;
      return { type: "data", stream, bytes: new Uint8Array(most) };
    }
    side.held -= most;
    side.room += most;
    return { type: "credit", stream, more: most };
  }

  /** Every way to break the protocol now. */
  *breaches(): Generator<GateFrame[], void, void> {
    const unknown = 2 ** 32 - 1;
    yield [{ type: "data", stream: unknown, bytes: new Uint8Array(1) }];
    yield [{ type: "credit", stream: unknown, more: 1 }];
    yield [{ type: "close", stream: unknown, ending: "end", errno: 0 }];
    yield [{ type: "log", stream: "stdout", bytes: new Uint8Array(1_000) }];
    for (const [stream, { credit, held, ended, used }] of this.gate) {
      const pieces = Array.from(
        { length: Math.ceil((credit + 1) / 65_532) },
        (_, index) => new Uint8Array(Math.min(65_532, credit + 1 - index * 65_532)),
      );
      yield pieces.map((bytes) => ({ type: "data", stream, bytes }));
      yield [{ type: "credit", stream, more: held + 1 }];
      yield [{ type: "credit", stream, more: 0 }];
      if (used) yield [{ type: "close", stream, ending: "unconnected", errno: 111 }];
      if (ended) yield [{ type: "data", stream, bytes: new Uint8Array(1) }];
      if (ended) yield [{ type: "close", stream, ending: "end", errno: 0 }];
      const reset = { type: "close", stream, ending: "reset", errno: 0 } as const;
      yield [reset, reset];
      yield [reset, { type: "data", stream, bytes: new Uint8Array(1) }];
    }
  }
}

const step = fc.record({
  server: fc.constantFrom("open" as const, "write" as const, "consume" as const, "close" as const),
  gate: fc.constantFrom("data" as const, "data" as const, "credit" as const, "end" as const, "reset" as const),
  byGate: fc.boolean(),
  which: fc.nat({ max: MOST - 1 }),
  bytes: fc.oneof(fc.integer({ min: 1, max: 65_532 }), fc.constantFrom(1, 65_532)),
});
const steps = fc.array(step, { maxLength: 60 });

/** Goes through the steps. */
function after(taken: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[]): Pair {
  const pair = new Pair();
  pair.serve("open", 0, 0);
  for (const { server, gate, byGate, which, bytes } of taken) {
    if (!byGate) pair.serve(server, which, bytes);
    else {
      const frame = pair.allowed(gate, which, bytes);
      if (frame !== undefined) say(pair.conversation, frame);
      pair.serve("consume", which, 0); // takes to the gate what its frame has set free
    }
  }
  return pair;
}

test("a gate that keeps to the protocol is heard, both sides keep within the credit, and no byte is lost", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const pair = after(taken);
      for (const side of pair.server) {
        expect(side.received).toBe(side.stream?.received ?? -1);
        expect(side.stream?.sent ?? 0).toBeLessThanOrEqual(side.written);
      }
      // All that was written arrives once the app reads.
      for (const [number, side] of pair.gate) {
        while (side.held > 0) {
          const more = side.held;
          side.held = 0;
          side.room += more;
          say(pair.conversation, { type: "credit", stream: number, more });
          pair.serve("consume", 0, 0);
        }
      }
      for (const { state, stream, written } of pair.server)
        if (state === "open" || state === "ended") expect(stream?.sent).toBe(written);
    }),
    { numRuns: 300 },
  );
});

test("any breach of credit or order by the gate is a ProtocolError, whatever went before", () => {
  fc.assert(
    fc.property(steps, fc.nat(), (taken, which) => {
      const breaches = [...after(taken).breaches()];
      const breach = breaches[which % breaches.length] ?? [];
      expect(() => say(after(taken).conversation, ...breach)).toThrow(ProtocolError);
    }),
    { numRuns: 300 },
  );
});
