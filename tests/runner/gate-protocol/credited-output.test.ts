import { expect, test } from "bun:test";
import { creditFrame } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { CreditedOutput } from "../../../lib/runner/gate-protocol/credited-output.ts";
import { ProtocolError } from "../../../lib/runner/gate-protocol/frames.ts";

/** The bytes that the gate may send at first, and those that it still sends when the function has ended, by PROTOCOL.md. */
const WINDOW = 262_144;
const LEFT = 1024 * 1024 + 65_536;

test("CreditedOutput gives credit back when half of the gate's is used, so that the function need not wait for it", () => {
  const output = new CreditedOutput(Infinity);
  for (let round = 0; round < 3; round++) {
    output.take(WINDOW / 2);
    expect(output.consumed(WINDOW / 2 - 1)).toBeUndefined();
    expect(output.consumed(1)).toEqual(creditFrame(0, WINDOW / 2));
  }
  expect(() => output.consumed(1)).toThrow(RangeError);
});

test("CreditedOutput takes what a gate may send without credit, and no more", () => {
  const output = new CreditedOutput(Infinity);
  output.take(WINDOW / 2);
  output.consumed(WINDOW / 2);
  output.take(WINDOW + LEFT);
  expect(() => output.take(1)).toThrow(ProtocolError);
});

test("CreditedOutput takes no more than the limit", () => {
  const output = new CreditedOutput(10);
  output.take(10);
  expect(() => output.take(1)).toThrow(ProtocolError);
});
