import { beforeEach, describe, expect, test } from "bun:test";
import type { ReadableStreamDefaultReader } from "node:stream/web";
import { ArrivingBody } from "../../../lib/runner/gate-protocol/arriving-body.ts";

const FRAME_BYTES = 65_536;

let consumed: number;
let body: ArrivingBody;
let reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">;
beforeEach(() => {
  consumed = 0;
  body = new ArrivingBody({ consumed: (bytes) => (consumed += bytes) }, () => undefined);
  reader = body.stream.getReader();
});

/** Returns the payload of a frame, which has a buffer of its own, behind the number of its stream. */
function payload(text: string): Uint8Array {
  return Buffer.alloc(FRAME_BYTES, text).subarray(4);
}

function isFreed({ buffer }: Uint8Array): boolean {
  return buffer instanceof ArrayBuffer && buffer.detached;
}

async function read(): Promise<string | undefined> {
  const { value } = await reader.read();
  return value && Buffer.from(value).toString();
}

describe("ArrivingBody", () => {
  test("frees a piece when its reader asks for the next one, and not before", async () => {
    const pieces = [payload("a"), payload("b"), payload("c")] as const;
    const [first, second, third] = pieces;
    body.push(first);
    expect(await read()).toBe("a".repeat(FRAME_BYTES - 4));
    expect(pieces.map(isFreed)).toEqual([false, false, false]);
    body.push(second);
    body.push(third);
    expect(await read()).toBe("b".repeat(FRAME_BYTES - 4));
    expect(pieces.map(isFreed)).toEqual([true, false, false]);
    expect(await read()).toBe("c".repeat(FRAME_BYTES - 4));
    body.end();
    expect(await read()).toBeUndefined();
    expect(pieces.map(isFreed)).toEqual([true, true, true]);
    expect(consumed).toBe(3 * (FRAME_BYTES - 4));
  });

  test("keeps the memory of a piece while the rest of its frame waits", async () => {
    const whole = payload("a");
    const [begin, rest] = [whole.subarray(0, 10), whole.subarray(12)];
    body.push(begin);
    body.push(rest);
    expect(await read()).toBe("a".repeat(10));
    expect(await read()).toBe("a".repeat(FRAME_BYTES - 16));
    expect(isFreed(whole)).toBe(false);
    const next = read();
    expect(isFreed(whole)).toBe(true);
    body.end();
    expect(await next).toBeUndefined();
  });

  test("gathers single bytes while its reader does not ask", async () => {
    const bytes = Buffer.from("abcdefgh".repeat(FRAME_BYTES));
    for (let at = 0; at < bytes.length; at++) body.push(bytes.subarray(at, at + 1));
    expect(consumed).toBe(0);
    body.end();
    let pieces = 0;
    let read = "";
    // Copied at once: a piece is freed when the next one is asked for.
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pieces++;
      read += Buffer.from(piece.value).toString();
    }
    expect(pieces).toBeLessThan(20);
    expect(read === bytes.toString()).toBe(true);
    expect(consumed).toBe(bytes.length);
  });

  test("leaves short buffers alone, which others may look into", async () => {
    const short = Buffer.from("short");
    body.push(short);
    expect(await read()).toBe("short");
    body.push(Buffer.from("next"));
    expect(await read()).toBe("next");
    expect(short.toString()).toBe("short");
  });

  test("fails behind what has come", async () => {
    body.push(payload("a"));
    body.fail(new Error("the function is gone"));
    expect(await read()).toBe("a".repeat(FRAME_BYTES - 4));
    expect(read()).rejects.toThrow("the function is gone");
  });
});
