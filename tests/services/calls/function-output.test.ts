import { describe, expect, test } from "bun:test";
import type { FunctionOutput } from "../../../lib/domain/calls/views/function-logs.ts";
import { FunctionOutputPieces } from "../../../lib/services/calls/function-output.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const printed = (text: string) => ({ type: "log", entries: [{ stream: "stdout", text }] }) as const;

function pieces() {
  const clock = new FakeClock();
  const passed: FunctionOutput[] = [];
  return { clock, passed, pieces: new FunctionOutputPieces(clock, (piece) => void passed.push(piece)) };
}

describe("FunctionOutputPieces", () => {
  test("gathers what many calls print in a moment into one piece, in order, with their ends", async () => {
    const { clock, passed, pieces: gathered } = pieces();
    for (const id of ["a", "b"]) gathered.take(id, printed(`of ${id}\n`));
    gathered.take("a", { type: "state", invocation: someInvocation("a", { status: "running" }) });
    gathered.take("a", {
      type: "state",
      invocation: someInvocation("a", { status: "failed", reason: "function_failed" }),
    });
    expect(passed).toEqual([]);
    await clock.advance(200);
    expect(passed).toEqual([
      {
        entries: [
          { invocation_id: "a", stream: "stdout", text: "of a\n" },
          { invocation_id: "b", stream: "stdout", text: "of b\n" },
        ],
        ends: [expect.objectContaining({ invocation_id: "a", status: "failed", reason: "function_failed" })],
        left_out: 0,
      },
    ]);
    await clock.advance(1_000);
    expect([passed.length, clock.pending]).toEqual([1, 0]);
  });

  test("a piece has at most 500 entries, 256 Ki characters and 200 ends: the latest, and how many were left out", async () => {
    const { clock, passed, pieces: gathered } = pieces();
    for (let n = 0; n < 600; n++) gathered.take("a", printed(String(n)));
    for (let n = 0; n < 250; n++) gathered.take("a", { type: "state", invocation: someInvocation(`i${n}`) });
    await clock.advance(200);
    expect(passed[0]?.entries.map(({ text }) => text)).toEqual(Array.from({ length: 500 }, (_, n) => String(n + 100)));
    expect(passed[0]?.ends.length).toBe(200);
    expect([passed[0]?.ends.at(-1)?.invocation_id, passed[0]?.left_out]).toEqual(["i249", 150]);
    for (let n = 0; n < 5; n++) gathered.take("a", printed("x".repeat(100 * 1024)));
    await clock.advance(200);
    expect([passed[1]?.entries.length, passed[1]?.left_out]).toEqual([2, 3]);
  });

  test("a call that waits for its first attempt has not ended, and one between two attempts has ended one", async () => {
    const { clock, passed, pieces: gathered } = pieces();
    for (const attempts of [0, 1]) {
      const invocation = someInvocation("a", { mode: "async", status: "queued", attempts, finished_at: null });
      gathered.take("a", { type: "state", invocation });
    }
    await clock.advance(200);
    expect(passed.flatMap(({ ends }) => ends.map(({ status }) => status))).toEqual(["queued"]);
  });

  test("passes on nothing after its reader has left", async () => {
    const { clock, passed, pieces: gathered } = pieces();
    gathered.take("a", printed("x"));
    gathered[Symbol.dispose]();
    await clock.advance(1_000);
    expect([passed, clock.pending]).toEqual([[], 0]);
  });
});
