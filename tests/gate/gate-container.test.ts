import { beforeAll, expect, test } from "bun:test";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { fixture } from "../support/images.ts";
import { findProgram } from "../../.ci/packages.ts";
import { GATE, GateProcess, sh } from "./support/gate-process.ts";

const ROOT = "/tmp/context";
let host: string;
let image: string;

beforeAll(async () => {
  host = (await acquireEngine()).host;
  image = await fixture("shell");
});

/** Starts a gate in a real container; each request is the script that its call runs. */
async function containerGate(...options: readonly string[]): Promise<GateProcess> {
  const sandbox = "--rm -i --network none --security-opt no-new-privileges --cap-drop NET_RAW --cap-drop MKNOD".split(
    " ",
  );
  const tmpfs = ["--tmpfs", `${ROOT}:rw,nosuid,nodev,mode=1777,size=8m`];
  const secrets = ["--tmpfs", "/run/secrets:rw,nosuid,nodev,noexec,mode=1777,size=1m"];
  const mounts = [...tmpfs, ...secrets, "-v", `${GATE}:/gate:ro`];
  const gate = new GateProcess(sh('. "$CONTEXT_PATH/request.json"'), {
    prefix: [
      findProgram("docker") ?? "docker",
      "-H",
      host,
      "run",
      ...sandbox,
      ...mounts,
      ...options,
      "--entrypoint",
      "/gate",
    ],
    gate: image,
  });
  await gate.expect("ready");
  return gate;
}

test.each([
  ["root", []],
  ["another user", ["--user", "65534:65534"]],
  ["root without capabilities", ["--cap-drop", "ALL"]],
  ["root on a read-only filesystem", ["--read-only", "--tmpfs", "/tmp:rw,nosuid,nodev,mode=1777,size=8m"]],
])(
  "gate serves call after call in a real container as %s, each without a trace of the one before",
  async (_, options) => {
    await using gate = await containerGate(...options);
    const look = `
    find /tmp /dev/shm /dev/mqueue /run/secrets -mindepth 1 -not -path "$CONTEXT_PATH*" -not -path ${ROOT}
    cat /run/secrets/* && tr '\\0' '\\n' < /proc/1/environ | grep -c VALUE; echo $VALUE
    for process in /proc/[0-9]*; do echo process; done`;
    const leave = `
    mkdir -p /tmp/a/b; touch /tmp/a/b/c /dev/shm/segment /dev/mqueue/queue; ln -s / /tmp/link
    head -c 7000000 /dev/zero > ${ROOT}/large
    (trap '' TERM; sleep 60) & setsid sleep 60 & (sleep 60 &)`;
    for (let call = 0; call < 5; call++) {
      const bytes = Buffer.from(`secret ${call}\n`);
      const { stdout, exit } = await gate.serve(ROOT, {
        body: `${look}\n${leave}`,
        environment: { VALUE: `value ${call}` },
        files: [{ place: "secrets", name: `of-${call}`, bytes }],
      });
      const found = `/run/secrets/of-${call}\nsecret ${call}\n0\nvalue ${call}\n`;
      expect(stdout).toBe(`${found}process\nprocess\n`);
      expect(exit).toMatchObject({ exitCode: 0, oomKills: 0 });
      await gate.expect("ready");
    }
  },
);

// EDGE C3
test.each([
  ["a volume that was empty", "/empty", "mkdir -p /empty/a && echo left > /empty/a/b"],
  ["the root of cgroups, where root may write", "/sys/fs/cgroup", "echo left > /sys/fs/cgroup/left || true"],
])("gate finds nothing of a call in a real container in %s", async (_, path, leave) => {
  await using gate = await containerGate("--tmpfs", "/empty:rw,mode=1777,size=1m");
  const calls: string[] = [];
  for (let call = 0; call < 3; call++) {
    const { stdout } = await gate.serve(ROOT, { body: `ls -A ${path}; { ${leave}; } 2> /dev/null` });
    calls.push(stdout);
    const next = await gate.next();
    if (next === undefined) break; // as good: the container is gone
  }
  expect(new Set(calls)).toEqual(new Set([calls[0] ?? ""]));
  expect(calls[0]).not.toContain("left");
});

// EDGE C3, C4
test.each([
  ["a file in /dev", "touch /dev/left"],
  ["names of hosts", "echo 192.0.2.1 evil >> /etc/hosts"],
  ["servers of names", "echo nameserver 192.0.2.1 > /etc/resolv.conf"],
  ["a closed device", "chmod 600 /dev/null"],
  ["a score", "echo 900 > /proc/1/oom_score_adj"],
  ["a niceness", "renice -n 5 -p 1"],
])("gate exits instead of sending READY in a real container after a call that left %s", async (_, leave) => {
  await using gate = await containerGate();
  await gate.serve(ROOT, { body: "cat /etc/hosts > /dev/null; : > /dev/null; exec 3</dev/zero" });
  await gate.expect("ready");
  const { exit } = await gate.serve(ROOT, { body: leave });
  expect(exit).toMatchObject({ exitCode: 0 });
  expect(await gate.next()).toBeUndefined();
});
