import { describe, expect, test } from "bun:test";
import { eventually } from "../../support/pace.ts";
import { sh } from "../support/gate-process.ts";
import { app, BootGate, standsStill } from "./boot-gate.ts";
import { freePort } from "../../support/ports/free-port.ts";

/**
 * Makes the gate PID 1 of namespaces of its own. Bun and the app are at /mnt, where any user reaches them; something else
 * listens at 127.0.0.1:3000 before the gate starts.
 */
const CONTAINER = `
  set -e
  ip link set lo up
  mount -t tmpfs none /mnt
  touch /mnt/bun /mnt/app.ts
  mount --bind "$1" /mnt/bun
  mount --bind "$2" /mnt/app.ts
  shift 2
  { /mnt/bun /mnt/app.ts echo 3000 & } 2>&1 | head -n 1 > /mnt/up
  exec "$@"
`;
const OWN_NAMESPACES = [
  "unshare",
  "--mount",
  "--net",
  "--pid",
  "--fork",
  "--mount-proc",
  ...sh(CONTAINER),
  "sh",
  process.execPath,
  `${import.meta.dir}/app.ts`,
];

describe.each([
  ["root", []],
  ["another user", ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]],
  ["root without capabilities", ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]],
])("as PID 1 and %s", (_who, user) => {
  const prefix = [...OWN_NAMESPACES, ...user];

  test("an app boots, is frozen with all of its processes, and is ended", async () => {
    const command = sh("/mnt/bun /mnt/app.ts tick 8080 ::1 & wait");
    await using gate = await BootGate.booted(command, 8080, { prefix, freeze: true });
    expect(await gate.expect("booted")).toMatchObject({ address: "::1" });
    expect(await eventually(() => standsStill(gate))).toBe(true);
    gate.conversation.finish(0);
    await gate.expect("exit");
    expect(await gate.exited).toBe(0);
  });

  test("what listens is told of an app that does not", async () => {
    await using gate = await BootGate.boot(["sleep", "100"], 8080, { prefix, bootTimeoutMs: 100 });
    expect((await gate.expect("not_listening")).listeners).toEqual([{ address: "127.0.0.1", port: 3000 }]);
  });
});

/**
 * A master that says so when its worker has given no sign of life for a second, as gunicorn's does, and a worker that answers with
 * the longest time in which it gave none, in milliseconds.
 */
const HEARTBEAT = `
  import { statSync, utimesSync, writeFileSync, writeSync } from "node:fs";
  const beat = "/mnt/beat";
  if (process.env.WORKER === undefined) {
    writeFileSync(beat, "");
    Bun.spawn([process.execPath, ...process.execArgv, "-e", process.env.PROGRAM], { env: { ...process.env, WORKER: "1" } });
    setInterval(() => Date.now() - statSync(beat).mtimeMs > 1000 && writeSync(1, "dead\\n"), 20);
  } else {
    let last = Date.now(), longest = 0;
    setInterval(() => {
      const now = Date.now();
      utimesSync(beat, now / 1000, now / 1000);
      longest = Math.max(longest, now - last);
      last = now;
    }, 20);
    Bun.listen({ hostname: "127.0.0.1", port: 8080, socket: { data: (socket) => void socket.end(String(longest)) } });
  }
`;

test("after a long freeze, workers give a sign of life before their master looks for one", async () => {
  await using gate = await BootGate.booted(["/mnt/bun", "-e", HEARTBEAT], 8080, {
    prefix: OWN_NAMESPACES,
    freeze: true,
    environment: { PROGRAM: HEARTBEAT },
  });
  const longest = async () => {
    await Bun.sleep(4_000); // it freezes when it is calm, and 3 s are a long freeze
    const stream = gate.open();
    stream.write("x");
    const answer = Number(await stream.rest());
    stream.stream.close();
    await gate.until(() => gate.conversation.heldStreams === 0);
    return answer;
  };
  expect(await eventually(async () => (await longest()) > 3_000)).toBe(true);
  expect(gate.logs).toBe("");
  gate.conversation.finish(0);
  await gate.expect("exit");
});

test("an app of a user whom the gate may not signal is neither frozen nor in the way of the end", async () => {
  const prefix = [...OWN_NAMESPACES, "setpriv", "--bounding-set=-kill", "--inh-caps=-kill"];
  const user = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
  const command = sh(`${user} /mnt/bun /mnt/app.ts tick 8080 & wait`);
  await using gate = await BootGate.booted(command, 8080, { prefix, freeze: true });
  const stream = gate.open();
  stream.write("x");
  expect(Number(await stream.rest())).toBeGreaterThanOrEqual(0);
  stream.stream.close();
  gate.conversation.finish(0);
  await gate.expect("exit");
  expect(await gate.exited).toBe(0);
});

test.each([
  [16 << 20, 16],
  [1 << 20, 4],
  [1 << 30, 64],
  ["max", 64],
])("a container of %s bytes of memory has %d streams at most", async (bytes, streams) => {
  const limit = `mount -t tmpfs none /sys/fs/cgroup && echo ${bytes} > /sys/fs/cgroup/memory.max && exec "$@"`;
  const prefix = [...OWN_NAMESPACES, ...sh(limit), "sh"];
  await using gate = await BootGate.booted(["sleep", "100"], 3000, { prefix });
  expect(await gate.expect("booted")).toMatchObject({ streams });
});

describe("where the kernel does not tell what listens", () => {
  const prefix = [process.execPath, `${import.meta.dir}/without-netlink.ts`];

  test.each(["127.0.0.1", "::1"])("an app on %s is found by a connection", async (address) => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port, address), port, { prefix });
    const stream = gate.open();
    stream.write("x");
    await stream.until(({ text }) => text === "x");
  });

  test("an app that never listens is killed, and no listeners are told", async () => {
    await using gate = await BootGate.boot(sh("sleep 100"), freePort(), { prefix, bootTimeoutMs: 100 });
    expect((await gate.expect("not_listening")).listeners).toEqual([]);
  });
});
