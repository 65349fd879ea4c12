import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { withDirectory } from "./image-tree.ts";
import { ensureProgram, runOrThrow } from "../packages.ts";

const FLAGS = ["-O2", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];

const compiled = new Map<string, Promise<Uint8Array>>();

/** Compiles all C files of a directory and those below it into the program `output`, once per process however many images need it. */
export async function compile(sources: string, output: string, linked: "static" | "dynamic"): Promise<void> {
  const key = `${linked} ${sources}`;
  const program = compiled.get(key) ?? compileOnce(sources, linked);
  compiled.set(key, program);
  await Bun.write(output, await program);
  await chmod(output, 0o755);
}

async function compileOnce(sources: string, linked: "static" | "dynamic"): Promise<Uint8Array> {
  const gcc = await ensureProgram("gcc", ["gcc", "libc6-dev"]);
  const files = await Array.fromAsync(new Bun.Glob("**/*.c").scan({ cwd: sources, absolute: true }));
  const link = linked === "static" ? ["-static"] : [];
  return withDirectory(async (directory) => {
    const program = join(directory, "program");
    await runOrThrow([gcc, ...FLAGS, `-I${sources}`, ...link, "-o", program, ...files.toSorted()]);
    return Bun.file(program).bytes();
  });
}
