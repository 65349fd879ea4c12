import { expect, test } from "bun:test";
import type { StreamAcceptor } from "../../../lib/runner/gate-protocol/instance-stream.ts";
import { sh } from "../support/gate-process.ts";
import { app, BootGate, TestStream } from "./boot-gate.ts";
import { type Programs, withExtensions } from "./extension-programs.ts";
import { freePort } from "../../support/ports/free-port.ts";

const accepts: StreamAcceptor = (stream) => new TestStream(() => stream);

/** Starts a gate that finds extensions, for a command in sh. */
async function boot(programs: Programs, command: string, prepare = ""): Promise<BootGate> {
  const prefix = withExtensions(programs, prepare);
  const environment = { SAID: "by the server" };
  return BootGate.boot(sh(command), freePort(), { prefix, serve: true, accepts, environment });
}

test("extensions start with the variables and the log of the command, which waits for START", async () => {
  const programs = {
    b: 'echo "b: $SAID"; sleep 100',
    a: 'echo "a: $SAID $0" >&2; read -r x; echo "end of input"; sleep 100',
  };
  await using gate = await boot(programs, 'echo "command: $SAID"; exit 3');
  expect(await gate.expect("extensions")).toEqual({ type: "extensions", count: 2, names: ["a", "b"] });
  await gate.expect("booted");
  await gate.until(() => gate.logs.split("\n").length === 4);
  expect(gate.logs.split("\n").toSorted()).toEqual([
    "",
    "a: by the server /opt/extensions/a",
    "b: by the server",
    "end of input",
  ]);
  gate.conversation.start();
  expect(await gate.expect("exit")).toMatchObject({ exitCode: 3 });
  expect(gate.logs).toEndWith("command: by the server\n");
});

test("the end of an extension is told, and why one cannot be started", async () => {
  const programs = { code: "exit 7", killed: "kill -9 $$", text: "", plain: "", lost: "" };
  const prepare = 'chmod 644 plain; printf "no program" > text; printf "#!/no/shell" > lost';
  await using gate = await boot(programs, "sleep 100", prepare);
  const { names } = await gate.expect("extensions");
  await gate.until(() => gate.frames.filter(({ type }) => type === "extension_end").length === 5);
  const ends = gate.frames.flatMap((frame) =>
    frame.type === "extension_end" ? [[names[frame.index], frame.exitCode, frame.signal, frame.errno]] : [],
  );
  expect(Object.fromEntries(ends.map(([name, ...end]) => [name, end]))).toEqual({
    code: [7, 0, 0],
    killed: [0, 9, 0],
    lost: [127, 0, 2],
    plain: [127, 0, 13],
    text: [127, 0, 8],
  });
});

test("only files are extensions, also at the end of links, and none is started if there are more than ten", async () => {
  const mixed = `mkdir folder; mkfifo pipe; ln -s /nowhere dangling; ln -s folder linked; ln -s /opt/extensions/one two
    touch "$(printf %0255d 0)"; chmod 755 0*`;
  await using few = await boot({ one: "sleep 100" }, "sleep 100", mixed);
  expect((await few.expect("extensions")).names).toEqual(["0".repeat(255), "one", "two"]);
  const many = "for i in $(seq 100); do cp one $i; done";
  await using crowd = await boot({ one: "echo started; sleep 100" }, "echo command", many);
  expect(await crowd.expect("extensions")).toEqual({ type: "extensions", count: 101, names: [] });
  await crowd.expect("booted");
  expect(crowd.logs).toBe("");
});

test("an empty folder, and none, are as before", async () => {
  for (const prepare of ["", "cd /; rmdir /opt/extensions"]) {
    await using gate = await boot({}, "echo begun", prepare);
    await gate.expect("exit");
    expect(gate.logs).toBe("begun\n");
    expect(gate.frames.some(({ type }) => type === "extensions")).toBe(false);
  }
});

test("an app that listens for its calls has none", async () => {
  const port = freePort();
  const options = { prefix: withExtensions({ a: "echo started; exit 1" }) };
  await using gate = await BootGate.booted(app("echo", port), port, options);
  const stream = gate.open();
  stream.write("hello");
  await stream.until(({ text }) => text === "hello");
  expect(gate.problem).toBeUndefined();
  expect(gate.logs).not.toContain("started");
});

test("FINISH ends the command first, and waits for the extensions that it names", async () => {
  const programs = { deaf: "sleep 100", parts: "while [ ! -e /opt/go ]; do sleep 0.01; done; echo parted" };
  await using gate = await boot(
    programs,
    "trap 'touch /opt/go; echo ended; exit 5' TERM; echo up; while :; do sleep 0.01; done",
  );
  await gate.expect("booted");
  gate.conversation.start();
  await gate.until(() => gate.logs.includes("up"));
  gate.conversation.finish(30_000, { extensions: [1], afterMs: 60_000 });
  expect(await gate.expect("exit")).toMatchObject({ exitCode: 5 });
  // A shell may say that its child was terminated.
  expect(gate.logs).toMatch(/^up\n(Terminated\n)?ended\nparted\n$/);
  const ends = gate.frames.filter(({ type }) => type === "extension_end");
  expect(ends).toEqual([expect.objectContaining({ index: 1 })]);
});

test("neither a command nor an extension that does not end keeps the instance", async () => {
  const deaf = "trap '' TERM; echo up; while :; do sleep 1; done";
  await using gate = await boot({ deaf: "echo up; sleep 100" }, deaf);
  await gate.expect("booted");
  gate.conversation.start();
  await gate.until(() => gate.logs === "up\nup\n");
  gate.conversation.finish(50, { extensions: [0], afterMs: 100 });
  expect(await gate.expect("exit")).toMatchObject({ exitCode: 0, signal: 9 });
});

test.each([
  ["START without extensions", {}, [0x0d, 0, 0, 0, 0]],
  [
    "FINISH for an extension that there is not",
    { one: "sleep 100" },
    [0x0a, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 1, 0, 2],
  ],
  ["FINISH that gives extensions less time", { one: "sleep 100" }, [0x0a, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1]],
])("%s is a wrong frame", async (_name, programs: Programs, bytes) => {
  await using gate = await boot(programs, "sleep 100");
  await gate.expect("booted");
  gate.send(Buffer.from(bytes));
  expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
});
