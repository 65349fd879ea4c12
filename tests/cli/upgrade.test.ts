import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VERSION } from "../../lib/version.ts";
import { runFake } from "./support/fake-program.ts";

const FILE = "slipway-linux-x64.gz";
const PROGRAM = "#!/bin/sh\necho slipway 9.9.9\n";

let directory: string;
const at = (name: string) => join(directory, name);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-upgrade-"));
  await release(PROGRAM);
  await Bun.write(at("slipway"), "the old one");
  await chmod(at("slipway"), 0o755);
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** Writes a release with this program. */
async function release(program: string): Promise<void> {
  const packed = Bun.gzipSync(Buffer.from(program));
  await Bun.write(at(FILE), packed);
  const sum = new Bun.CryptoHasher("sha256").update(packed).digest("hex");
  await Bun.write(at("SHA256SUMS"), `${"0".repeat(64)}  slipway-linux-arm64.gz\n${sum}  ${FILE}\n`);
}

function upgrade(...words: readonly string[]): Promise<string> {
  const line = ["upgrade", at(FILE), "--binary", at("slipway"), ...words];
  return runFake(line).then(({ stdout }) => stdout, String);
}

async function expectUntouched(): Promise<void> {
  expect(await Bun.file(at("slipway")).text()).toBe("the old one");
  expect((await readdir(directory)).toSorted()).toEqual(["SHA256SUMS", "slipway", FILE].toSorted());
}

test("upgrade checks the file, tries it, and replaces the program by it", async () => {
  expect(await upgrade()).toContain(`is slipway 9.9.9 now (this was slipway ${VERSION})`);
  expect(await Bun.file(at("slipway")).text()).toBe(PROGRAM);
  expect((await Bun.file(at("slipway")).stat()).mode & 0o777).toBe(0o755);
  expect(await readdir(directory)).toHaveLength(3);
});

test("upgrade refuses a file that is not the one of the sums", async () => {
  await Bun.write(at(FILE), Bun.gzipSync(Buffer.from(`${PROGRAM}curl evil\n`)));
  expect(await upgrade()).toContain("download it again. Nothing was replaced");
  await expectUntouched();
});

test("upgrade refuses sums that do not name the file, and missing ones", async () => {
  await Bun.write(at("SHA256SUMS"), `${"0".repeat(64)}  other\n`);
  expect(await upgrade()).toContain(`The checksums do not name ${FILE}`);
  await expectUntouched();
  expect(await upgrade("--sums", at("none"))).toContain('Cannot read "');
});

test.each([
  ["of another architecture, or broken", "\u007fELF nonsense"],
  ["that does not print a version", "#!/bin/sh\necho hello\n"],
  ["that fails", "#!/bin/sh\nexit 1\n"],
])("upgrade refuses a program %s", async (_, program) => {
  await release(program);
  expect(await upgrade()).toMatch(/Nothing was replaced|Cannot replace/);
  await expectUntouched();
});

test("upgrade refuses to replace Bun itself, if that runs the source", async () => {
  const error: unknown = await runFake(["upgrade", at(FILE)]).catch((error: unknown) => error);
  expect(String(error)).toContain("This slipway runs from its source: name the program to replace with --binary");
});
