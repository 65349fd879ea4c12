import { expect, test } from "bun:test";
import { gateBinary } from "../../../lib/docker/containers/gate-binary.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { GATE } from "../../gate/support/gate-process.ts";

test.each([
  ["x86_64", "amd64", 62],
  ["aarch64", "arm64", 183],
])("gateBinary returns the same static ELF for %s and %s", async (kernel, go, machine) => {
  const gate = await gateBinary(kernel);
  const header = Buffer.from(gate.bytes.subarray(0, 64));
  expect(header.subarray(1, 4).toString()).toBe("ELF");
  expect(header.readUInt16LE(18)).toBe(machine);
  expect(gate.name).toMatch(/^gate-[0-9a-f]{16}$/);
  expect(gate.name).toBe(`gate-${new Bun.CryptoHasher("sha256").update(gate.bytes).digest("hex").slice(0, 16)}`);
  expect(await gateBinary(go)).toBe(gate);
});

test("gateBinary needs no interpreter, so that it runs in an empty image", async () => {
  const PT_INTERP = 3;
  for (const architecture of ["x86_64", "aarch64"]) {
    const elf = Buffer.from((await gateBinary(architecture)).bytes);
    const [start, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
    const types = Array.from({ length: count }, (_, index) => elf.readUInt32LE(start + index * size));
    expect(types).not.toContain(PT_INTERP);
  }
});

test("gateBinary names an architecture without a gate", async () => {
  const error = await gateBinary("riscv64").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ reason: "engine_unavailable", message: expect.stringContaining('"riscv64"') });
});

test("gate without a command prints its usage", () => {
  const { exitCode, stderr } = Bun.spawnSync([GATE], { stdout: "ignore", stderr: "pipe" });
  expect(exitCode).toBe(2);
  expect(stderr.toString()).toBe("usage: gate [--stdio | --boot] [--shared=PATH...] [--] COMMAND [ARG...]\n");
});
