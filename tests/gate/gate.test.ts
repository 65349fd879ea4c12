import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { callGate, GATE, GateProcess, outcome, scratch, sh, type Scratch } from "./support/gate-process.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

/** Each test has a context of its own below the one root. */
const fresh = () => ({ id: crypto.randomUUID() });

test("gate passes the request on and returns the response, the output and the exit status", async () => {
  const script = 'cat "$CONTEXT_PATH/request.json" > "$CONTEXT_PATH/response.json"; echo out; echo err >&2; exit 3';
  const call = await callGate(root.path, sh(script), { ...fresh(), body: '{"n": 12345678901234567890}' });
  expect(Buffer.from(call.response).toString()).toBe('{"n": 12345678901234567890}');
  expect(call).toMatchObject({ stdout: "out\n", stderr: "err\n", expired: false, code: 0 });
  expect(call.exit).toMatchObject({ exitCode: 3, signal: 0, oomKills: 0, logDroppedBytes: 0, responseState: "fine" });
  expect(call.exit?.wallUs).toBeWithin(1, 10_000_000);
  expect(call.exit?.peakBytes).toBeWithin(100_000, 1_000_000_000);
});

test("gate counts the CPU time of the process and of the children that it waited for", async () => {
  const spin = 'i=0; while [ "$i" -lt 300000 ]; do i=$((i+1)); done';
  const call = await callGate(root.path, sh(`/bin/sh -c '${spin}'; exit 0`), fresh());
  const { userUs = 0, systemUs = 0, wallUs = 0 } = call.exit ?? {};
  expect(userUs).toBeGreaterThan(10_000);
  expect(wallUs).toBeGreaterThan(10_000);
  expect(userUs + systemUs).toBeLessThan(2 * wallUs);
});

test("gate returns {} as the response of a function that writes none", async () => {
  const call = await callGate(root.path, ["true"], fresh());
  expect(Buffer.from(call.response).toString()).toBe("{}");
  expect(call.exit).toMatchObject({ exitCode: 0, signal: 0 });
});

test("gate writes an empty body as {}", async () => {
  const call = await callGate(root.path, sh('cat "$CONTEXT_PATH/request.json"'), { ...fresh(), body: "" });
  expect(call.stdout).toBe("{}");
});

test("gate passes 6 MiB each way byte for byte", async () => {
  const body = crypto.getRandomValues(Buffer.alloc(65_536));
  const large = Buffer.concat(
    Array.from({ length: 96 }, (_, index) => Buffer.concat([body.subarray(index), body.subarray(0, index)])),
  );
  expect(large.length).toBe(6 << 20);
  const call = await callGate(root.path, sh('cp "$CONTEXT_PATH/request.json" "$CONTEXT_PATH/response.json"'), {
    ...fresh(),
    body: large,
  });
  expect(large.equals(call.response)).toBe(true);
});

test("gate accepts a request that arrives byte by byte", async () => {
  await using gate = new GateProcess(sh('cp "$CONTEXT_PATH/request.json" "$CONTEXT_PATH/response.json"'));
  await gate.expect("ready");
  const request = {
    ...fresh(),
    contextRoot: root.path,
    timeoutMs: 30_000,
    graceMs: 1_000,
    responseLimit: 99,
    logLimit: 99,
    again: false,
    bodyFile: false,
  };
  for (const piece of gate.conversation.call(request, Buffer.from("[1, 2]"))) {
    for (const byte of piece) await gate.send(Buffer.of(byte));
  }
  expect(Buffer.from((await outcome(gate)).response).toString()).toBe("[1, 2]");
});

test.each([
  ["exit 0", 0, 0],
  ["exit 1", 1, 0],
  ["exit 127", 127, 0],
  ["exit 255", 255, 0],
  ["kill -SEGV $$", 0, 11],
  ["kill -TERM $$", 0, 15],
  ["kill -KILL $$", 0, 9],
])("gate reports how `%s` ended", async (script, exitCode, signal) => {
  const call = await callGate(root.path, sh(script), fresh());
  expect(call.exit).toMatchObject({ exitCode, signal });
});

describe("the function's process", () => {
  test("has REQUEST_ID and CONTEXT_PATH instead of the image's own, and the rest of its environment", async () => {
    const id = crypto.randomUUID();
    const env = { REQUEST_ID: "forged", CONTEXT_PATH: "/forged", LINES: "a\nb", EMPTY: "", PATH: "/usr/bin:/bin" };
    const call = await callGate(root.path, ["env", "-0"], { id, env });
    const variables = call.stdout.split("\0").slice(0, -1).toSorted();
    const own = { ...env, REQUEST_ID: id, CONTEXT_PATH: `${root.path}/${id}` };
    expect(variables).toEqual(
      Object.entries(own)
        .map(([key, value]) => `${key}=${value}`)
        .toSorted(),
    );
  });

  test("has an empty stdin", async () => {
    const call = await callGate(root.path, sh("cat; readlink /proc/self/fd/0"), fresh());
    expect(call).toMatchObject({ stdout: "/dev/null\n", exit: { exitCode: 0 } });
  });

  test("has no descriptors but the standard three", async () => {
    // The shell keeps 7 open, as a careless engine might; 3 is ls reading the directory.
    const call = await callGate(root.path, ["ls", "/proc/self/fd"], {
      ...fresh(),
      prefix: [...sh('exec 7</; exec "$@"'), "sh"],
    });
    expect(call.stdout).toBe("0\n1\n2\n3\n");
  });

  test("has pipes that block", async () => {
    const O_NONBLOCK = 0o4000;
    const call = await callGate(root.path, sh("cat /proc/self/fdinfo/1 /proc/self/fdinfo/2"), fresh());
    const flags = [...call.stdout.matchAll(/flags:\s+(\d+)/g)].map((match) => Number.parseInt(match[1] ?? "", 8));
    expect(flags.map((value) => value & O_NONBLOCK)).toEqual([0, 0]);
  });

  test("has the umask that the gate was started with", async () => {
    const call = await callGate(root.path, sh("umask"), { ...fresh(), prefix: [...sh('umask 037; exec "$@"'), "sh"] });
    expect(call.stdout).toBe("0037\n");
  });

  test("has the signal mask and dispositions that the gate was started with", async () => {
    const status = ["grep", "^Sig[BI]", "/proc/self/status"];
    const ignoring = [...sh('trap "" PIPE CHLD USR1; exec "$@"'), "sh"];
    for (const prefix of [[], ignoring]) {
      const call = await callGate(root.path, status, { ...fresh(), prefix });
      expect(call.stdout).toBe(Bun.spawnSync([...prefix, ...status]).stdout.toString());
    }
  });

  test("leads a process group of its own, in the gate's session", async () => {
    const call = await callGate(root.path, sh("exec cat /proc/self/stat"), fresh());
    const [pid, , , parent, group, session] = call.stdout.split(" ");
    expect(group).toBe(pid ?? "");
    expect(parent).not.toBe(group);
    expect(session).not.toBe(group);
  });

  test("is dumpable, and is killed before the gate if memory runs out", async () => {
    const call = await callGate(root.path, sh("stat -c %U /proc/$$/fd; cat /proc/self/oom_score_adj"), {
      ...fresh(),
      ...(await asNobody()),
    });
    expect(call.stdout).toBe("nobody\n1000\n");
  });

  test("runs in the directory that the gate was started in, with its arguments unchanged", async () => {
    const cwd = `${root.path}/work dir`;
    await mkdir(cwd);
    const call = await callGate(root.path, ["sh", "-c", 'pwd; printf "<%s>" "$0" "$@"', "a b", "", "$x\n*"], {
      ...fresh(),
      cwd,
    });
    expect(call.stdout).toBe(`${cwd}\n<a b><><$x\n*>`);
  });
});

test("gate's context can be read and written by any user", async () => {
  const { id } = fresh();
  await callGate(root.path, ["true"], { id, prefix: [...sh('umask 077; exec "$@"'), "sh"] });
  const modes = async (...parts: string[]) =>
    ((await stat([root.path, id, ...parts].join("/"))).mode & 0o7777).toString(8);
  expect([await modes(), await modes("request.json"), await modes("response.json")]).toEqual(["777", "666", "666"]);
  expect((await readdir(`${root.path}/${id}`)).toSorted()).toEqual(["request.json", "response.json"]);
});

test("gate is closed to a function of the same user", async () => {
  const script = "cat /proc/$PPID/environ || ls /proc/$PPID/fd || echo kept out";
  const call = await callGate(root.path, sh(script), { ...fresh(), ...(await asNobody()) });
  expect(call.stdout).toBe("kept out\n");
});

test("gate needs nothing in the image: no /dev/null, no /proc, no shell", async () => {
  const image = `${root.path}/image`;
  await mkdir(`${image}/tmp`, { recursive: true });
  await Bun.$`cp ${GATE} ${image}/gate`;
  // Any static program will do as the function: here it is the gate itself, which prints its usage.
  const call = await callGate("/tmp", ["/gate"], { ...fresh(), prefix: ["chroot", image], gate: "/gate" });
  expect(call).toMatchObject({
    stderr: "usage: gate [--stdio | --boot] [--shared=PATH...] [--] COMMAND [ARG...]\n",
    exit: { exitCode: 2, responseState: "fine" },
  });
});

/** Runs the gate as a user without privileges who may write to the contexts' root. */
async function asNobody(): Promise<{ prefix: string[] }> {
  await chmod(root.path, 0o1777);
  await chmod(GATE, 0o755);
  return { prefix: ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] };
}
