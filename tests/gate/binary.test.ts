import { expect, test } from "bun:test";
import { buildGate } from "../../.ci/build-gate.ts";

await buildGate();

/** Types of segments in an ELF file. */
const SEGMENT = { DYNAMIC: 2, INTERPRETER: 3, STACK: 0x6474e551, RELRO: 0x6474e552 } as const;
const EXECUTABLE = 1;

/** Returns the type of a 64-bit little-endian ELF file, and its segments: type and flags. */
async function elf(path: string): Promise<{ type: number; segments: { type: number; flags: number }[] }> {
  const bytes = Buffer.from(await Bun.file(path).bytes());
  const at = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  const segments = Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => ({
    type: bytes.readUInt32LE(at + index * size),
    flags: bytes.readUInt32LE(at + index * size + 4),
  }));
  return { type: bytes.readUInt16LE(16), segments };
}

// EDGE C11
test.each(["gate-x64", "gate-arm64"])("%s is static, position independent, and cannot run its stack", async (name) => {
  const { type, segments } = await elf(`${import.meta.dir}/../../lib/gate/bin/${name}`);
  const of = (wanted: number) => segments.filter((segment) => segment.type === wanted);
  expect(type).toBe(3); // ET_DYN
  expect([of(SEGMENT.INTERPRETER), of(SEGMENT.DYNAMIC).length, of(SEGMENT.RELRO).length]).toEqual([[], 1, 1]);
  expect(of(SEGMENT.STACK).map(({ flags }) => flags & EXECUTABLE)).toEqual([0]);
});
