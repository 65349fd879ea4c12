import { expect, test } from "bun:test";
import fc from "fast-check";
import { progressLines } from "../../../lib/docker/progress/progress-lines.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

async function* chunks(...texts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield typeof text === "string" ? Buffer.from(text) : text;
}

const read = (stream: AsyncIterable<Uint8Array>, onChunk?: () => void) =>
  Array.fromAsync(progressLines(stream, onChunk));

test("progressLines yields the same lines however they are cut, with or without a line break at the end", async () => {
  const values = [{ status: "Pulling", id: "ä€😀" }, { stream: "Step 1/2 : RUN x\n" }, { aux: { ID: "1" } }];
  const bytes = Buffer.from(values.map((value) => JSON.stringify(value)).join("\r\n\n"));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length)), fc.boolean(), async (cuts, isWhole) => {
      const ends = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const pieces = ends.slice(1).map((end, index) => bytes.subarray(ends[index], end));
      expect(await read(chunks(...pieces, isWhole ? "\n" : ""))).toEqual(values);
    }),
    { numRuns: 50 },
  );
});

test("progressLines tells of each piece that comes, also of a part of a line", async () => {
  let came = 0;
  expect(await read(chunks('{"a"', ": 1}\n", "\n"), () => (came += 1))).toEqual([{ a: 1 }]);
  expect(came).toBe(3);
});

test.each([
  ["what is no JSON", chunks("{}\nsecret\n"), "the engine's progress is not JSON: "],
  ["half a line at the end", chunks('{"a'), "the engine's progress is not JSON: "],
  ["a line without an end", chunks(Buffer.alloc(4 * 1024 * 1024 + 1, "x")), "the engine's progress makes no sense"],
])("progressLines throws at %s", async (_, stream, message) => {
  const error = await rejectionOf(read(stream));
  expect(String(error)).toContain(message);
  expect(String(error)).not.toContain("secret");
});
