import { expect, test } from "bun:test";
import { KeptBody } from "../../../../lib/services/calls/bodies/kept-body.ts";
import { arraysKept } from "../../../http/support/arrays-kept.ts";

const PIECES = 50_000;

/** Memory that counts what it holds. */
function memory() {
  let held = 0;
  const hold = (bytes: number) => {
    held += bytes;
    return () => void (held -= bytes);
  };
  return { hold, held: () => held };
}

test("a body that is kept takes its bytes, in however many pieces it comes", () => {
  const { hold, held } = memory();
  const body = new KeptBody(PIECES, { hold });
  const before = arraysKept();
  for (let sent = 0; sent < PIECES; sent++) body.add(Uint8Array.of(sent & 0xff));
  expect(arraysKept() - before).toBeLessThan(1_000);
  expect([held(), body.whole]).toEqual([PIECES, null]);
  body.end();
  expect(body.whole).toEqual(Buffer.from(Uint8Array.from({ length: PIECES }, (_, at) => at)));
  body[Symbol.dispose]();
  expect([held(), body.whole]).toEqual([0, null]);
});

test("a body beyond the limit is not kept, and gives its memory back at once", () => {
  const { hold, held } = memory();
  const body = new KeptBody(10, { hold });
  for (const piece of ["12345", "67890", "!"]) body.add(Buffer.from(piece));
  body.end();
  expect([held(), body.whole]).toEqual([0, null]);
});
