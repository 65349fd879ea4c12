import { closeSync, openSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { EngineClient } from "./engine-client.ts";
import { takeSlot } from "./engine-slot.ts";
import { emulatedMachine, ENGINE_PORT, type EmulatedMachine } from "./emulated-machine.ts";
import type { PrivateEngine } from "./private-engine.ts";
import { ensureProgram, requireProgram, SetupError } from "../packages.ts";

/** The time from the machine's start to its engine's first answer: 100 s with a processor for itself. */
const START_TIMEOUT_MS = 1_200_000;
const MEMORY = "3G";
/** The detours around faults of real processors cost most where a processor is emulated. */
const FAST = "mitigations=off";

/**
 * Starts this machine's kind of engine on a machine that qemu emulates: with cgroup v2 and AppArmor, whatever this one has,
 * and without its help in hardware. It is some twenty times slower than this one. What it writes is gone when it stops, which it does
 * with this process.
 */
export async function startEmulatedEngine(): Promise<PrivateEngine> {
  if (process.getuid?.() !== 0) throw new SetupError("Cannot start an emulated machine: run this as root");
  const qemu = await ensureProgram("qemu-system-x86_64", ["qemu-system-x86"]);
  const machine = await emulatedMachine();
  await using slot = await takeSlot();
  const console_ = join(slot.directory, "console.log");
  const socket = join(slot.directory, "docker.sock");
  await rm(socket, { force: true });
  const port = freePort();
  const log = openSync(console_, "w");
  const child = Bun.spawn([requireProgram("setpriv"), "--pdeathsig", "KILL", qemu, ...optionsOf(machine, port)], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  child.unref();
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const engine = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    for (const [from, to] of [
      [client, engine],
      [engine, client],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  proxy.listen(socket).unref();
  const client = new EngineClient(`unix://${socket}`);
  try {
    await untilReady(client, child);
  } catch (error) {
    await stop(child, proxy);
    const tail = (await readFile(console_, "utf8")).trim().split("\n").slice(-15).join("\n");
    throw new SetupError(`Cannot start the emulated machine, its console ends with:\n${tail}`, { cause: error });
  }
  const release = slot.keep();
  return {
    client,
    async stop() {
      await stop(child, proxy);
      release();
    },
  };
}

function optionsOf({ kernel, initrd, disk }: EmulatedMachine, port: number): string[] {
  return [
    ["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", MEMORY, "-nographic", "-no-reboot"],
    [
      "-kernel",
      kernel,
      "-initrd",
      initrd,
      "-append",
      `console=ttyS0 panic=-1 quiet apparmor=1 security=apparmor ${FAST}`,
    ],
    // The disk stays as it is: changes go to a file that has no name.
    ["-drive", `file=${disk},if=virtio,format=raw`, "-snapshot"],
    ["-netdev", `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:${ENGINE_PORT}`],
    ["-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"],
  ].flat();
}

/** Returns a port of the loopback that nothing uses at the moment. */
function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

async function untilReady(client: EngineClient, child: Bun.Subprocess): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`qemu ended with exit code ${child.exitCode}`);
    if (await client.ping(10_000)) return;
    await Bun.sleep(500);
  }
  throw new Error(`The engine did not answer within ${START_TIMEOUT_MS} ms`);
}

async function stop(child: Bun.Subprocess, proxy: Server): Promise<void> {
  proxy.close();
  child.kill("SIGKILL");
  await child.exited;
}
