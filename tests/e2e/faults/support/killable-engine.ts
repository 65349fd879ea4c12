import { closeSync, openSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { acquireEngine } from "../../../../.ci/engine/engine.ts";
import { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { takeSlot, writeConfig } from "../../../../.ci/engine/engine-slot.ts";
import { ensureProgram, requireProgram } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";

/** A private engine that restarts by itself when it is killed; its containers survive. */
export interface KillableEngine extends AsyncDisposable {
  readonly client: EngineClient;
  /** Copies an image of the tests' engine into this one. */
  load(image: string): Promise<void>;
  /** SIGKILL. */
  kill(): void;
  /** SIGTERM: it shuts down, and its containers keep running. */
  restart(): void;
  /** SIGSTOP, until the returned function is called. */
  freeze(): () => void;
}

/** Runs everything in namespaces of its own, whose first process is the restart loop: killing that kills everything. */
const LOOP =
  'while :; do rm -f "$1/docker.pid"; "$0" --config-file "$1/daemon.json" --live-restore --data-root "$1/root" --exec-root "$1/exec" -p "$1/docker.pid" -H "unix://$1/docker.sock"; done';

/** Starts an engine and waits until it answers. */
export async function startKillableEngine(): Promise<KillableEngine> {
  await ensureProgram("unshare", ["util-linux"]);
  const dockerd = await ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
  await using slot = await takeSlot();
  await writeConfig(slot);
  const { directory } = slot;
  await rm(join(directory, "exec"), { recursive: true, force: true });
  const log = openSync(join(directory, "dockerd.log"), "w");
  const namespaces = ["-m", "-p", "-f", "--kill-child=KILL", "--mount-proc", "--propagation", "private"];
  const child = Bun.spawn(
    [
      requireProgram("setsid"),
      requireProgram("setpriv"),
      "--pdeathsig",
      "KILL",
      requireProgram("unshare"),
      ...namespaces,
      "sh",
      "-c",
      LOOP,
      dockerd,
      directory,
    ],
    { stdin: "ignore", stdout: log, stderr: log },
  );
  closeSync(log);
  const release = slot.keep();
  const client = new EngineClient(`unix://${join(directory, "docker.sock")}`);
  if (!(await eventually(() => client.ping(1_000), 20_000))) throw new Error(`No engine came up in ${directory}`);
  const loop = childrenOf(child.pid)[0] ?? 0;
  const signal = (name: NodeJS.Signals) => process.kill(childrenOf(loop)[0] ?? 0, name);
  return {
    client,
    async load(image) {
      const saved = await (await acquireEngine()).client.request("GET", `/images/${image}/get`);
      await client.progress("POST", "/images/load", {
        body: await saved.blob(),
        headers: { "content-type": "application/x-tar" },
      });
    },
    kill: () => signal("SIGKILL"),
    restart: () => signal("SIGTERM"),
    freeze() {
      signal("SIGSTOP");
      return () => signal("SIGCONT");
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      release();
    },
  };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
}
