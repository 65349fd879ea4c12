import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { readdir } from "node:fs/promises";
import { GateProcess, outcome, scratch, sh, type Scratch } from "./support/gate-process.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

/** Each request is the script that its call runs. */
const SCRIPT = sh('. "$CONTEXT_PATH/request.json"');

async function readyGate(command: readonly string[] = SCRIPT): Promise<GateProcess> {
  const gate = new GateProcess(command);
  await gate.expect("ready");
  return gate;
}

test("gate is ready again after a call that another one may follow, and exits after the last", async () => {
  await using gate = await readyGate();
  await gate.serve(root.path, { body: "exit 3" });
  expect(await gate.expect("ready")).toEqual({
    type: "ready",
    version: 10,
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    surroundings: "processes",
    why: "",
  });
  await gate.call(root.path, { body: "exit 4" });
  expect(await outcome(gate)).toMatchObject({ exit: { exitCode: 4 }, code: 0 });
});

test("gate gives every call its own process, id and context, without a trace of the one before", async () => {
  await using here = await scratch();
  await using gate = await readyGate();
  const body = 'echo $$ $REQUEST_ID $CONTEXT_PATH; ls -A "$CONTEXT_PATH/.."; touch "$CONTEXT_PATH/../mine"';
  const lines: string[][] = [];
  for (let call = 0; call < 3; call++) {
    const id = crypto.randomUUID();
    const { stdout, response } = await gate.serve(here.path, { id, body });
    await gate.expect("ready");
    const [first = "", ...listed] = stdout.trim().split("\n");
    expect(listed).toEqual([id]);
    expect(Buffer.from(response).toString()).toBe("{}");
    lines.push(first.split(" "));
    expect(lines.at(-1)?.slice(1)).toEqual([id, `${here.path}/${id}`]);
  }
  expect(new Set(lines.map(([pid]) => pid)).size).toBe(3);
  expect(await readdir(here.path)).toEqual([]);
});

test("gate accepts the same id again", async () => {
  await using gate = await readyGate();
  for (let call = 0; call < 3; call++) {
    const body = `echo '[${call}]' > "$CONTEXT_PATH/response.json"`;
    const { response } = await gate.serve(root.path, { id: "same", body });
    expect(Buffer.from(response).toString()).toBe(`[${call}]\n`);
    await gate.expect("ready");
  }
});

test("gate counts output and reports response and exit status anew in each call", async () => {
  await using gate = await readyGate();
  const body = "printf 1234567890; printf 12345 > $CONTEXT_PATH/response.json; exit 7";
  const first = await gate.serve(root.path, { body, logLimit: 4, responseLimit: 3 });
  expect(first).toMatchObject({
    stdout: "1234",
    exit: { logDroppedBytes: 6, responseState: "over_limit", exitCode: 7 },
  });
  await gate.expect("ready");
  const second = await gate.serve(root.path, { body, logLimit: 10, responseLimit: 5 });
  expect(second).toMatchObject({ stdout: "1234567890", exit: { logDroppedBytes: 0, responseState: "fine" } });
  await gate.expect("ready");
  const third = await gate.serve(root.path, { body: "rm $CONTEXT_PATH/response.json; kill -9 $$", logLimit: 0 });
  expect(third).toMatchObject({ stdout: "", exit: { signal: 9, exitCode: 0, responseState: "missing" } });
  expect(third.response.length).toBe(0);
  await gate.expect("ready");
});

test("gate leaks no descriptor in 200 calls, and loses no output at the end of a call", async () => {
  await using gate = await readyGate();
  // While a function runs: between calls the next process is being forked, and descriptors come and go.
  const open = async () => {
    const { stdout } = await gate.serve(root.path, { body: "ls /proc/$PPID/fd" });
    await gate.expect("ready");
    return stdout;
  };
  const shapes = [
    // Output left in the pipes at the end counts towards the 1 MiB of its own call only.
    "printf %060000d 0",
    "exec >&- 2>&-",
    "rm -r $CONTEXT_PATH",
    "truncate -s 99M $CONTEXT_PATH/response.json",
    "mkfifo $CONTEXT_PATH/../fifo",
  ];
  const before = await open();
  expect(before).toContain("0\n");
  for (let call = 0; call < 200; call++) {
    const body = shapes[call % shapes.length] ?? "";
    const { stdout } = await gate.serve(root.path, { body });
    await gate.expect("ready");
    expect(stdout.length).toBe(call % shapes.length === 0 ? 60_000 : 0);
  }
  expect(await open()).toBe(before);
});

test("gate accepts bodies of any size one after another", async () => {
  const copy = sh('cp "$CONTEXT_PATH/request.json" "$CONTEXT_PATH/response.json"');
  await using gate = await readyGate(copy);
  for (const size of [0, 1, 65_536, 65_537, 6 << 20, 2]) {
    const body = Buffer.alloc(size, "slipway");
    const { response } = await gate.serve(root.path, { body });
    expect(Buffer.from(response).equals(size === 0 ? Buffer.from("{}") : body)).toBe(true);
    await gate.expect("ready");
  }
});

describe("gate exits instead of sending a second READY", () => {
  test("after EXPIRED, even if the function then exits with 0", async () => {
    await using gate = await readyGate();
    const body = "trap 'exit 0' TERM; sleep 60 & wait";
    await gate.call(root.path, { id: crypto.randomUUID(), again: true, timeoutMs: 300, graceMs: 20_000, body });
    expect(await outcome(gate)).toMatchObject({ expired: true, exit: { exitCode: 0 }, code: 0 });
  });

  test("after EXPIRED while the body is incomplete", async () => {
    await using gate = await readyGate();
    const request = {
      id: crypto.randomUUID(),
      contextRoot: root.path,
      timeoutMs: 100,
      graceMs: 0,
      responseLimit: 9,
      logLimit: 9,
      again: true,
      bodyFile: false,
    };
    const [head] = gate.conversation.call(request, Buffer.alloc(70_000));
    await gate.send(head ?? Buffer.alloc(0));
    await gate.expect("expired");
    await gate.expect("exit");
    await gate.expect("response");
    expect(gate.conversation.state).toBe("over");
    await gate.hangUp();
    expect(await gate.next()).toBeUndefined();
  });

  test("after FAILED, in the first call and in a later one", async () => {
    await using never = await readyGate(["/no/such/command"]);
    await never.call(root.path, { id: crypto.randomUUID(), again: true });
    expect(await outcome(never)).toMatchObject({ failed: { stage: "exec" }, code: 0 });

    await using later = await readyGate();
    await later.serve(root.path, { body: "true" });
    await later.expect("ready");
    await later.call(`${root.path}/missing`, { again: true, body: "true" });
    const failed = { type: "failed", stage: "context", errno: constants.errno.ENOENT };
    expect(await outcome(later)).toMatchObject({ frames: [failed] });
  });

  test("after anything that arrives while the function runs", async () => {
    await using gate = await readyGate();
    await gate.call(root.path, { id: crypto.randomUUID(), again: true, body: "echo up; sleep 60" });
    await gate.expect("log");
    await gate.send(Buffer.of(1));
    expect(await outcome(gate)).toMatchObject({ failed: { stage: "frames" }, code: 0 });
  });

  test("if the context's root is gone", async () => {
    await using gate = await readyGate();
    await using other = await scratch();
    await gate.serve(other.path, { body: `rm -r ${other.path}` });
    expect(await gate.next()).toBeUndefined();
    expect(await gate.exited).toBe(1);
  });

  test("if the context's root has become a link, which it does not follow", async () => {
    await using gate = await readyGate();
    await using other = await scratch();
    await Bun.$`mkdir ${other.path}/root ${other.path}/keep && touch ${other.path}/keep/file`;
    const body = `cd ${other.path} && mv root moved && ln -s keep root`;
    await gate.serve(`${other.path}/root`, { body });
    expect(await gate.next()).toBeUndefined();
    expect(await gate.exited).toBe(1);
    expect(await readdir(`${other.path}/keep`)).toEqual(["file"]);
  });

  test("when stdin ends before the answer is out", async () => {
    await using gate = await readyGate();
    await gate.call(root.path, { again: true, body: "echo up; sleep 0.05" });
    await gate.expect("log");
    await gate.hangUp();
    expect(await gate.exited).toBe(1);
  });
});

test("gate exits when stdin ends, even if it is ready again", async () => {
  await using gate = await readyGate();
  await gate.serve(root.path, { body: "true" });
  await gate.expect("ready");
  await gate.hangUp();
  expect(await gate.exited).toBe(1);
});

test("gate refuses nonsense after READY, as a new one does", async () => {
  await using gate = await readyGate();
  await gate.serve(root.path, { body: "true" });
  await gate.expect("ready");
  gate.conversation.call(
    {
      id: "i",
      contextRoot: "/",
      timeoutMs: 1,
      graceMs: 1,
      responseLimit: 1,
      logLimit: 1,
      again: true,
      bodyFile: false,
    },
    Buffer.alloc(0),
  );
  await gate.send(Buffer.of(9, 0, 0, 0, 0));
  expect(await gate.next()).toMatchObject({ type: "failed", stage: "frames" });
});
