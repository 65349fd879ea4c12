// `bun run test [arguments of bun test]`: sets up everything that the tests need, runs them and prints the counts.
import { acquireEngine } from "./engine/engine.ts";
import { runOrThrow } from "./packages.ts";
import { buildGate } from "./build-gate.ts";
import { inRepository, installPackages, main, ROOT, say } from "./steps.ts";

/**
 * For one test: a container takes half a second to start, and several times that on a busy machine. It is an argument
 * because bunfig.toml has no such setting and a preload's setDefaultTimeout applies to the first file only (Bun 1.4.5).
 */
const TEST_TIMEOUT_MS = 30_000;

await main(async () => {
  say("Packages and gate");
  await installPackages();
  await buildGate();
  await using engine = await acquireEngine();
  say(`Engine: ${engine.isPrivate ? "a private one" : "the one that is running"}, ${engine.host}`);
  process.env["DOCKER_HOST"] = engine.host;
  say("Images for the tests");
  await runOrThrow([process.execPath, inRepository("tests/support/build-fixtures.ts")]);
  say("Tests");
  const { code, passed, failed } = await runTests(process.argv.slice(2));
  console.log(`\n${passed} passed, ${failed} failed`);
  return code === 0 && passed === 0 ? 1 : code;
});

interface Result {
  readonly code: number;
  readonly passed: number;
  readonly failed: number;
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
