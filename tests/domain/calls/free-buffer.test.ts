import { expect, test } from "bun:test";
import { freeBuffer } from "../../../lib/domain/calls/free-buffer.ts";

test.each([
  ["all of a buffer", 65_536, 0, 65_536, true],
  ["the end of a buffer", 65_536, 4, 65_532, true],
  ["the middle of a buffer, whose end is still to be read", 65_536, 4, 65_531, false],
  ["a short buffer, which may be a part of a pool", 8_192, 0, 8_192, false],
])("freeBuffer of bytes that are %s", (_, size, offset, length, isFreed) => {
  const buffer = new ArrayBuffer(size);
  const bytes = new Uint8Array(buffer, offset, length);
  freeBuffer(bytes);
  expect(buffer.detached).toBe(isFreed);
  freeBuffer(bytes);
});
