// `bun run test [--newest] [arguments of bun test]`: sets up everything that the tests need, runs them and prints the
// counts. Without arguments it runs all tests on the engine of this machine, and some a second time on the newest engine.
// Arguments go to one run alone, on the machine's engine or, with --newest, on the newest one.
import { acquireEngine, type Engine, startNewestEngine } from "./engine/engine.ts";
import { NEWEST_TESTS } from "./engine/newest-tests.ts";
import { runOrThrow, SetupError } from "./packages.ts";
import { buildGate } from "./build-gate.ts";
import { inRepository, installPackages, main, ROOT, say } from "./steps.ts";

/**
 * For one test: a container takes half a second to start, and several times that on a busy machine. It is an argument
 * because bunfig.toml has no such setting and a preload's setDefaultTimeout applies to the first file only (Bun 1.4.5).
 */
const TEST_TIMEOUT_MS = 30_000;

await main(async () => {
  const args = process.argv.slice(2).filter((arg) => arg !== "--newest");
  const newest = process.argv.includes("--newest");
  say("Packages and gate");
  await installPackages();
  await buildGate();
  const results: Result[] = [];
  if (!newest) results.push(await runOn("The machine's engine", acquireEngine, args));
  if (newest || args.length === 0) results.push(await runOnNewest(args.length === 0 ? NEWEST_TESTS : args));
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

/** Runs tests on the newest engine. If it cannot be had, that is a failure: nobody else would notice. */
async function runOnNewest(args: readonly string[]): Promise<Result> {
  try {
    return await runOn("The newest engine", startNewestEngine, args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`\n${error.message}`);
    return { code: 1, passed: 0, failed: 1 };
  }
}

/** Runs tests on an engine, with their images, and stops it if it is a private one. */
async function runOn(what: string, start: () => Promise<Engine>, args: readonly string[]): Promise<Result> {
  await using engine = await start();
  process.env["DOCKER_HOST"] = engine.host;
  say(`${what}: ${await versionOf(engine)}, ${engine.isPrivate ? "a private one" : "running already"}, ${engine.host}`);
  await runOrThrow([process.execPath, inRepository("tests/support/build-fixtures.ts")]);
  say("Tests");
  // Awaited here: the engine stops at the end of this scope.
  return await runTests(args);
}

/** Returns an engine's version and where it keeps images, such as `28.5.2+dfsg4 (overlayfs)`. */
async function versionOf({ client }: Engine): Promise<string> {
  const { ServerVersion, Driver } = (await client.json("GET", "/info")) as { ServerVersion?: string; Driver?: string };
  return `${ServerVersion} (${Driver})`;
}

async function runTests(args: readonly string[]): Promise<Result> {
  const child = Bun.spawn([process.execPath, "test", `--timeout=${TEST_TIMEOUT_MS}`, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...(process.stderr.isTTY ? { FORCE_COLOR: "1" } : {}) },
    stdin: "ignore",
    stdout: "inherit",
    stderr: "pipe",
  });
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
