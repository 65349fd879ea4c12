import { copyFile, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureProgram, runOrThrow } from "./packages.ts";

const FLAGS = ["-O2", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];

const compiled = new Map<string, Promise<string>>();

/** Compiles all C files of a directory into the program `output`; once a process, however many images want it. */
export async function compile(sources: string, output: string, linked: "static" | "dynamic"): Promise<void> {
  const key = `${linked} ${sources}`;
  const program = compiled.get(key) ?? compileOnce(sources, linked);
  compiled.set(key, program);
  await copyFile(await program, output);
}

async function compileOnce(sources: string, linked: "static" | "dynamic"): Promise<string> {
  const gcc = await ensureProgram("gcc", ["gcc", "libc6-dev"]);
  const files = await Array.fromAsync(new Bun.Glob("*.c").scan({ cwd: sources, absolute: true }));
  const program = join(await mkdtemp(join(tmpdir(), "slipway-compile-")), "program");
  await runOrThrow([gcc, ...FLAGS, ...(linked === "static" ? ["-static"] : []), "-o", program, ...files.toSorted()]);
  return program;
}
