import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConfigError } from "../../../config/config.ts";
import { messageOf } from "../../../domain/errors.ts";
import { VERSION } from "../../../version.ts";
import { CommandError } from "../../exit-codes.ts";
import { fileProblem } from "../../file-problem.ts";
import type { Define } from "../../tools.ts";

/** The time that the new program may take to print its version, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** `slipway upgrade`: checks a file of a release against its sums, tries it, and puts it in the place of this program. */
export const define: Define = (command, { out }) => {
  command
    .description("Replace this program by one from a release, after a check of its checksum")
    .argument("<FILE>", "The file of the release, such as slipway-linux-x64.gz.")
    .option("--sums <FILE>", "The checksums of the release; by default SHA256SUMS next to FILE.")
    .option("--binary <FILE>", "The program to replace; by default this one.")
    .action(async (file, { sums, binary = thisProgram() }) => {
      if (binary === undefined)
        throw new ConfigError("This slipway runs from its source: name the program to replace with --binary");
      const packed = await read(file);
      checkSum(file, packed, await read(sums ?? join(dirname(file), "SHA256SUMS")));
      const bytes = file.endsWith(".gz") ? unpacked(file, packed) : packed;
      const version = replace(binary, bytes);
      const done = { binary, from: VERSION, to: version };
      out.done(done, `${binary} is ${version} now (this was slipway ${VERSION}). Restart the server if it runs`);
    });
};

/** Returns the file of this program, or undefined if Bun runs its source. */
function thisProgram(): string | undefined {
  return Bun.main.startsWith("/$bunfs/") ? process.execPath : undefined;
}

async function read(file: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    throw new ConfigError(`Cannot read "${file}": ${fileProblem(error)}`, { cause: error });
  }
}

/** Throws unless the sums, as `sha256sum` writes them, have the file with this content. */
function checkSum(file: string, bytes: Uint8Array, sums: Uint8Array): void {
  const name = basename(file);
  const lines = new TextDecoder().decode(sums).split("\n");
  const [, expected] =
    lines.map((line) => /^([0-9a-f]{64}) [ *](.+)$/.exec(line)).find((match) => match?.[2] === name) ?? [];
  if (expected === undefined)
    throw new CommandError(`The checksums do not name ${name}: take SHA256SUMS of the same release`);
  const actual = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  if (actual === expected) return;
  throw new CommandError(
    `The checksum of ${name} is ${actual}, and should be ${expected}: download it again. Nothing was replaced`,
  );
}

function unpacked(file: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  try {
    return Bun.gunzipSync(bytes);
  } catch (error) {
    throw new CommandError(`Cannot unpack "${file}": ${messageOf(error)}`, 1, { cause: error });
  }
}

/** Tries a program next to the one that it replaces, and then gives it its name. Returns the version that it prints. */
function replace(binary: string, bytes: Uint8Array): string {
  const temporary = `${binary}.${process.pid}.new`;
  try {
    writeFileSync(temporary, bytes, { flag: "wx", mode: 0o755 });
    // Whatever the umask took.
    chmodSync(temporary, 0o755);
    const version = versionOf(temporary);
    renameSync(temporary, binary);
    return version;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`Cannot replace "${binary}": ${fileProblem(error)}`, 1, { cause: error });
  } finally {
    rmSync(temporary, { force: true });
  }
}

function versionOf(program: string): string {
  const { exitCode, stdout } = Bun.spawnSync([program, "--version"], {
    stdio: ["ignore", "pipe", "ignore"],
    timeout: TIMEOUT_MS,
  });
  const text = stdout.toString().trim();
  if (exitCode === 0 && /^slipway \S+$/.test(text)) return text;
  throw new CommandError(
    "The file is not a slipway for this machine: take the one for its architecture. Nothing was replaced",
  );
}
