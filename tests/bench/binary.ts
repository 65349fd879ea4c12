import { readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../.ci/build.ts";
import { COLLECTED_AFTER_MS } from "../../lib/server/idle-collector.ts";
import { answered, BareServer, freePort } from "./bare-server.ts";
import type { Bench } from "./bench.ts";
import { compareTimes, figure, type Measurement, show } from "./compare.ts";

const MIB = 1024 * 1024;
/** Twice the time in which the server becomes quiet and returns memory. */
const LOGGED_MS = 2 * COLLECTED_AFTER_MS + 60_000;

/** Compares the executable with an empty compiled Bun server: start, size and memory. */
export async function binary({ docker, rounds }: Bench): Promise<readonly Measurement[]> {
  const executable = await build(process.arch === "arm64" ? "arm64" : "x64");
  await using bare = await BareServer.start();
  const [ours, theirs] = [(await stat(executable)).size, (await stat(bare.binary)).size];
  const start = (name: string, command: string, path: string) => ({
    name,
    run: async () => {
      await using server = await running(command, docker);
      await answered(server.url + path);
    },
  });
  return [
    await compareTimes("start", {
      rounds,
      perRound: 5,
      sides: [start("slipway", executable, "/healthz"), start("Bun.serve", bare.binary, "/")],
    }),
    figure("executable", [(100 * ours) / theirs], "%", [
      { name: "slipway", figure: `${show(ours / MIB)} MiB` },
      { name: "Bun.serve", figure: `${show(theirs / MIB)} MiB` },
    ]),
    await idleMemory(executable, docker, bare),
  ];
}

async function idleMemory(executable: string, docker: string, bare: BareServer): Promise<Measurement> {
  await using server = await running(executable, docker, { LOG_LEVEL: "debug" });
  await answered(`${server.url}/healthz`);
  await answered(bare.url);
  await server.logged("memory given back");
  await Bun.sleep(2_000);
  const [ours, theirs] = [residentBytes(server.pid), residentBytes(bare.pid)];
  const parts = (pid: number) =>
    `${show(residentBytes(pid) / MIB)} MiB, of which ${show(anonymousBytes(pid) / MIB)} its own and the rest pages of the executable`;
  return figure("idleMemory", [ours / theirs], "", [
    { name: "slipway", figure: parts(server.pid) },
    { name: "Bun.serve", figure: parts(bare.pid) },
  ]);
}

/** A running executable. */
export interface Running extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly directory: string;
  /** Waits until it logs an event, from now on. */
  logged(event: string): Promise<void>;
}

/** Runs the executable with an empty data directory; kills it at the end. */
export async function running(
  command: string,
  docker: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-"));
  const port = freePort();
  const log = join(directory, "log");
  const child = Bun.spawn([command], {
    env: { PORT: String(port), DATA_PATH: directory, DOCKER_HOST: docker, ...variables },
    stdio: ["ignore", "ignore", Bun.file(log)],
  });
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    directory,
    async logged(event) {
      const from = Bun.file(log).size;
      const deadline = performance.now() + LOGGED_MS;
      while (!(await Bun.file(log).slice(from).text()).includes(`"event":"${event}"`)) {
        if (performance.now() > deadline) throw new Error(`The server did not log ${JSON.stringify(event)}`);
        await Bun.sleep(100);
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Returns the resident memory of a process. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

/** Returns the part of it that no file backs, which the kernel cannot drop and read again. */
function anonymousBytes(pid: number): number {
  return statusBytes(pid, "RssAnon");
}

function statusBytes(pid: number, field: "VmRSS" | "RssAnon"): number {
  const line = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}
