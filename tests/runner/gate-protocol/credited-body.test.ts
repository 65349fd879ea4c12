import { expect, test } from "bun:test";
import { freeBuffer } from "../../../lib/domain/calls/free-buffer.ts";
import { CreditedBody } from "../../../lib/runner/gate-protocol/credited-body.ts";
import { CREDIT_BYTES } from "../../../lib/runner/gate-protocol/frames.ts";

test("a piece that was sent may be freed before the next one is there, whatever the gate says meanwhile", () => {
  const body = new CreditedBody();
  for (let round = 1; round <= 3; round++) {
    const piece = new Uint8Array(CREDIT_BYTES / 2);
    body.add(piece);
    expect([...body.next()].length).toBeGreaterThan(0);
    freeBuffer(piece);
    body.allow(CREDIT_BYTES / 2);
    expect([...body.next()]).toEqual([]);
    expect(body.sent).toBe((round * CREDIT_BYTES) / 2);
  }
});
