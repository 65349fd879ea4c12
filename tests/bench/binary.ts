import { readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../.ci/build.ts";
import { answered, BareServer, freePort } from "./bare-server.ts";
import type { Bench } from "./bench.ts";
import { compareTimes, figure, type Measurement, show } from "./compare.ts";

const MIB = 1024 * 1024;

/** The executable beside an empty compiled Bun server: its start, its size and its memory. */
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
    await compareTimes(
      { metric: "start to the first answer / bare compiled `Bun.serve`", target: 2.5 },
      { rounds, perRound: 5, sides: [start("slipway", executable, "/healthz"), start("Bun.serve", bare.binary, "/")] },
    ),
    figure({ metric: "executable / empty compiled Bun server", target: 1.06 }, [ours / theirs], "", [
      { name: "slipway", figure: `${show(ours / MIB)} MiB` },
      { name: "Bun.serve", figure: `${show(theirs / MIB)} MiB` },
    ]),
    await idleMemory(executable, docker, bare),
  ];
}

async function idleMemory(executable: string, docker: string, bare: BareServer): Promise<Measurement> {
  await using server = await running(executable, docker);
  await answered(`${server.url}/healthz`);
  await Bun.sleep(5_000);
  const [ours, theirs] = [residentBytes(server.pid), residentBytes(bare.pid)];
  return figure({ metric: "idle memory / bare compiled `Bun.serve`", target: 2 }, [ours / theirs], "", [
    { name: "slipway", figure: `${show(ours / MIB)} MiB` },
    { name: "Bun.serve", figure: `${show(theirs / MIB)} MiB` },
  ]);
}

/** The executable, running with an empty data directory; killed at the end. */
async function running(command: string, docker: string): Promise<{ url: string; pid: number } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-"));
  const port = freePort();
  const child = Bun.spawn([command], {
    env: { PORT: String(port), DATA_PATH: directory, DOCKER_HOST: docker },
    stdio: ["ignore", "ignore", "ignore"],
  });
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Resident memory of a process. */
export function residentBytes(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}
