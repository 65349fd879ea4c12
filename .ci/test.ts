// `bun run test [--newest | --emulated] [arguments of bun test]`: sets up everything that the tests need, runs them and prints the
// counts. Without arguments it runs all tests on the engine of this machine, and some a second time on the newest engine.
// Arguments go to one run alone, on the machine's engine or, with --newest, on the newest one. With --emulated it is one
// on an emulated machine; without arguments the tests of cells run there.
import { ALONE_TESTS } from "./engine/alone-tests.ts";
import { containerPace } from "./engine/container-life.ts";
import { acquireEngine, acquireSecondEngine, type Engine, startEmulated, startNewestEngine } from "./engine/engine.ts";
import { copyImages } from "./engine/image-tree.ts";
import { NEWEST_TESTS } from "./engine/newest-tests.ts";
import { newestRoot } from "./engine/newest-root.ts";
import { TEST_PROGRAMS } from "./engine/programs/test-programs.ts";
import { installMissing, runOrThrow, SetupError } from "./packages.ts";
import { build } from "./build.ts";
import { buildGate } from "./build-gate.ts";
import { inRepository, installPackages, main, ROOT, say } from "./steps.ts";

/**
 * For one test: a container takes half a second to start, and many times that on a busy machine. It is an argument
 * because bunfig.toml has no such setting and a preload's setDefaultTimeout applies to the first file only (Bun 1.4.5).
 */
const TEST_TIMEOUT_MS = 120_000;

/** Limits grow by this factor on an emulated machine, times what a container's life took longer there before the tests. */
const EMULATED_ROOM = 3;
/** The tests of what differs with the machine rather than with the engine: the kernel's part in cells. */
const EMULATED_TESTS = ["walls", "left", "cells"].map((name) => `tests/e2e/cells/${name}.test.ts`);
/** Their images. */
const EMULATED_FIXTURES = ["chaos", "probe"];
/** The images that each of the newest engines has before the tests: those that many of these tests use. */
const NEWEST_FIXTURES = ["chaos", "static", "shell"];

await main(async () => {
  const options = ["--newest", "--emulated"];
  const args = process.argv.slice(2).filter((arg) => !options.includes(arg));
  const [newest, emulated] = options.map((option) => process.argv.includes(option));
  // For the engines that are started below: the Go programs that each start of a container runs live for a tenth of a second, and
  // a third of their processor time went into collecting garbage. A benchmark's engine has the default.
  process.env["GOGC"] ??= "400";
  say("Packages and gate");
  const isWhole = args.length === 0 && emulated !== true;
  await Promise.all([installPackages(), isWhole && installMissing(TEST_PROGRAMS)]);
  // Begun here: most of it is a wait for packages from the network. One that fails is reported by those who need it.
  if (isWhole) void newestRoot().catch(() => undefined);
  await buildGate();
  const results: Result[] = [];
  if (emulated) {
    const tests = args.length > 0 ? args : EMULATED_TESTS;
    const run = (engines: readonly Engine[]) => runTests(engines, tests);
    results.push(...(await runOn("An emulated machine", [startEmulated], run, provideEmulated)));
  } else if (args.length > 0) {
    const start = newest ? startNewestEngine : acquireEngine;
    results.push(...(await runOn(nameOf(newest === true), [start], (engines) => runTests(engines, args))));
  } else {
    process.env["SLIPWAY_TEST_BINARY"] = await build(process.arch === "arm64" ? "arm64" : "x64");
    // Two leave a quarter of two cores idle.
    const three = [acquireEngine, acquireSecondEngine, acquireSecondEngine];
    if (!newest) results.push(...(await runOn(nameOf(false), three, (engines) => runBelow(engines, ["tests"]))));
    const newestThree = [startNewestEngine, startNewestEngine, startNewestEngine];
    results.push(
      ...(await runOn(nameOf(true), newestThree, (engines) => runBelow(engines, NEWEST_TESTS), provideNewest)),
    );
  }
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  console.log(`\n${passed} passed, ${failed} failed`);
  return results.find(({ code }) => code !== 0)?.code ?? (passed === 0 ? 1 : 0);
});

interface Result {
  readonly code: number;
  readonly passed: number;
  readonly failed: number;
}

type Start = () => Promise<Engine | undefined>;

function nameOf(newest: boolean): string {
  return newest ? "The newest engine" : "The machine's engine";
}

/** Runs tests on engines, once they have their images, and stops the private ones. An engine that cannot be had is a failure. */
async function runOn(
  what: string,
  starts: readonly Start[],
  tests: (engines: readonly Engine[]) => Promise<Result | readonly Result[]>,
  provide: (engine: Engine) => Promise<unknown> = buildFixtures,
): Promise<readonly Result[]> {
  await using held = new AsyncDisposableStack();
  const engines: Engine[] = [];
  try {
    for (const start of starts) {
      const engine = await start();
      if (engine !== undefined) engines.push(held.use(engine));
    }
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`\n${error.message}`);
    return [{ code: 1, passed: 0, failed: 1 }];
  }
  for (const engine of engines)
    say(
      `${what}: ${await versionOf(engine)}, ${engine.isPrivate ? "a private one" : "running already"}, ${engine.host}`,
    );
  await Promise.all(engines.map((engine) => provide(engine)));
  say("Tests");
  // Awaited here: the engines stop at the end of this scope.
  return [await tests(engines)].flat();
}

/** Returns an engine's version, where it keeps images, and its cgroups, such as `28.5.2+dfsg4 (overlayfs, cgroup v2)`. */
async function versionOf({ client }: Engine): Promise<string> {
  const { ServerVersion, Driver, CgroupVersion } = (await client.json("GET", "/info")) as EngineInfo;
  return `${ServerVersion} (${Driver}, cgroup v${CgroupVersion})`;
}

/** A part of the engine's own format. */
interface EngineInfo {
  readonly ServerVersion?: string;
  readonly Driver?: string;
  readonly CgroupVersion?: string;
}

/** Builds images of the tests, those named or those that many tests use, and returns their references. */
async function buildFixtures({ host }: Engine, images: readonly string[] = []): Promise<readonly string[]> {
  const printed = await runOrThrow([
    "env",
    `DOCKER_HOST=${host}`,
    process.execPath,
    inRepository("tests/support/build-fixtures.ts"),
    ...images,
  ]);
  return printed.trim().split("\n");
}

/** Builds the images of the tests on a newest engine. That of Bun is large, and few of these tests use it. */
function provideNewest(engine: Engine): Promise<readonly string[]> {
  return buildFixtures(engine, NEWEST_FIXTURES);
}

/** Builds the images of an emulated machine's tests on this one, where that takes seconds, and measures that machine's pace. */
async function provideEmulated({ client }: Engine): Promise<void> {
  await using here = await acquireEngine();
  const references = await buildFixtures(here, EMULATED_FIXTURES);
  await copyImages(here.client, client, references);
  const [first = ""] = references;
  const pace = await containerPace(client, first);
  process.env["SLIPWAY_TEST_PACE"] ??= String(Math.ceil(EMULATED_ROOM * pace));
  say(`Limits are ${process.env["SLIPWAY_TEST_PACE"]} times those of this machine`);
}

/** Runs the test files below `paths`: first side by side, then those that must be alone. */
async function runBelow(engines: readonly Engine[], paths: readonly string[]): Promise<readonly Result[]> {
  const files = (await Array.fromAsync(new Bun.Glob("tests/**/*.test.ts").scan({ cwd: ROOT })))
    .filter((file) => isBelow(file, paths))
    .toSorted();
  const together = await runTests(
    engines,
    files.filter((file) => !isBelow(file, ALONE_TESTS)),
  );
  const alone = files.filter((file) => isBelow(file, ALONE_TESTS));
  if (alone.length === 0) return [together];
  say("Tests that must be alone");
  // On the engine that has started last: engines of this machine share its firewall rules, and each writes them anew.
  return [together, await runTests(engines.slice(-1), alone)];
}

function isBelow(file: string, paths: readonly string[]): boolean {
  return paths.some((path) => file === path || file.startsWith(`${path}/`));
}

/** Runs tests in as many processes as there are engines, each with one of its own; see tests/support/preload.ts. */
async function runTests(engines: readonly Engine[], args: readonly string[]): Promise<Result> {
  const hosts = engines.map(({ host }) => host);
  const [first = ""] = hosts;
  const sideBySide = hosts.length > 1;
  const child = Bun.spawn(
    [
      [process.execPath, "test", `--timeout=${TEST_TIMEOUT_MS * Number(process.env["SLIPWAY_TEST_PACE"] ?? 1)}`],
      sideBySide ? [`--parallel=${hosts.length}`, "--parallel-delay=0", "--no-isolate"] : [],
      args,
    ].flat(),
    {
      cwd: ROOT,
      env: {
        ...process.env,
        ...(sideBySide ? { SLIPWAY_TEST_ENGINES: hosts.join(" ") } : { DOCKER_HOST: first }),
        ...(process.stderr.isTTY ? { FORCE_COLOR: "1" } : {}),
      },
      stdin: "ignore",
      stdout: "inherit",
      stderr: "pipe",
    },
  );
  const [output, code] = await Promise.all([passOn(child.stderr), child.exited]);
  const passed = lastCount(output, "pass");
  const failed = lastCount(output, "fail");
  // A run that ended early without a failed test (a crash, a preload that threw) counts as one failure.
  return { code, passed, failed: code !== 0 && failed === 0 ? 1 : failed };
}

/** Passes the output on and returns its end, which has the summary. */
async function passOn(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let end = "";
  for await (const chunk of stream) {
    process.stderr.write(chunk);
    end = (end + decoder.decode(chunk, { stream: true })).slice(-4096);
  }
  return Bun.stripANSI(end);
}

/** Returns the number in the last line such as ` 12 pass`. */
function lastCount(output: string, word: string): number {
  const counts = [...output.matchAll(new RegExp(`^\\s*(\\d+) ${word}$`, "gm"))];
  return Number(counts.at(-1)?.[1] ?? 0);
}
