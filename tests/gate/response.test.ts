import { afterAll, beforeAll, expect, test } from "bun:test";
import { callGate, GateProcess, scratch, sh, type Scratch } from "./support/gate-process.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
  await Bun.write(`${root.path}/host-secret`, "secret");
});
afterAll(() => root[Symbol.asyncDispose]());

/** A program that leaves a socket behind: it kills itself, as Bun removes its socket at a normal exit. */
const SOCKET = `Bun.listen({unix: "response.json", socket: {data() {}}}); process.kill(process.pid, "SIGKILL")`;

test.each([
  ["nothing at all", "rm response.json", "missing"],
  ["no context directory", 'rm -r "$CONTEXT_PATH"', "missing"],
  ["a context directory under another name", 'mv "$CONTEXT_PATH" ../moved-away', "fine"],
  ["an empty file", ": > response.json", "fine"],
  ["a file moved into place", "echo '{\"a\": 1}' > new && mv new response.json", "fine"],
  ["a link to a file of the host", "ln -sf ROOT/host-secret response.json", "no_regular_file"],
  ["a link to itself", "rm response.json && ln -s response.json response.json", "no_regular_file"],
  ["a link to nothing", "ln -sf /no/such/thing response.json", "no_regular_file"],
  ["a FIFO without a writer", "rm response.json && mkfifo response.json", "no_regular_file"],
  ["a directory", "rm response.json && mkdir response.json", "no_regular_file"],
  ["the null device", "rm response.json && mknod response.json c 1 3", "no_regular_file"],
  ["an endless device", "rm response.json && mknod response.json c 1 5", "no_regular_file"],
  ["the terminal", "rm response.json && mknod response.json c 5 0", "no_regular_file"],
  ["a disk", "rm response.json && mknod response.json b 7 0", "no_regular_file"],
  ["a socket", `rm response.json && exec ${process.execPath} -e '${SOCKET}'`, "no_regular_file"],
  ["a sparse terabyte", "truncate -s 1T response.json", "over_limit"],
  ["4 GiB, whose length is 0 in 32 bits", "truncate -s 4G response.json", "over_limit"],
  ["one byte over the limit", "truncate -s 1001 response.json", "over_limit"],
  ["exactly the limit", "truncate -s 1000 response.json", "fine"],
] as const)("gate reports a response that is %s", async (what, script, responseState) => {
  const command = sh(`cd "$CONTEXT_PATH" && ${script.replace("ROOT", root.path)}`);
  const call = await callGate(root.path, command, { id: crypto.randomUUID(), responseLimit: 1000 });
  expect(call.stderr).toBe("");
  expect(call.exit).toMatchObject({ responseState });
  const sizes: Record<string, number> = {
    "exactly the limit": 1000,
    "an empty file": 0,
    "a file moved into place": 9,
  };
  const size = responseState === "fine" ? (sizes[what] ?? 2) : 0;
  expect(call.response.length).toBe(size);
});

test("gate reports a response that it cannot read", async () => {
  await Bun.$`chmod 1777 ${root.path}`;
  const prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
  const call = await callGate(root.path, sh('chmod 0 "$CONTEXT_PATH/response.json"'), {
    id: crypto.randomUUID(),
    prefix,
  });
  expect(call.exit).toMatchObject({ responseState: "unreadable", responseBytes: 0 });
});

test("gate returns response.meta.json and response.body, byte for byte", async () => {
  const script = `cd "$CONTEXT_PATH"; printf '{"status":\\000 201}' > response.meta.json; head -c 200000 /dev/urandom > response.body
    cp response.body ${root.path}/sent; echo '[]' > response.json`;
  const call = await callGate(root.path, sh(script), { id: crypto.randomUUID() });
  expect(call.exit).toMatchObject({ metaState: "fine", metaBytes: 16, bodyFile: true, responseState: "fine" });
  expect(Buffer.from(call.meta).toString("latin1")).toBe('{"status":\0 201}');
  expect(Buffer.from(await Bun.file(`${root.path}/sent`).arrayBuffer()).equals(call.response)).toBe(true);
});

test.each([
  ["nothing", "true", { metaState: "missing", bodyFile: false, responseBytes: 2 }],
  [
    "a meta file alone",
    "echo > response.meta.json",
    { metaState: "fine", metaBytes: 1, bodyFile: false, responseBytes: 2 },
  ],
  [
    "a meta file and no response",
    "echo > response.meta.json; rm response.json",
    { metaBytes: 1, responseState: "missing" },
  ],
  ["an empty meta file", ": > response.meta.json", { metaState: "fine", metaBytes: 0, responseBytes: 2 }],
  ["as much meta as allowed", "truncate -s 65536 response.meta.json", { metaState: "fine", metaBytes: 65_536 }],
  ["more meta than allowed", "truncate -s 65537 response.meta.json", { metaState: "over_limit", metaBytes: 0 }],
  ["a sparse terabyte of meta", "truncate -s 1T response.meta.json", { metaState: "over_limit" }],
  ["a link as meta", "ln -s ROOT/host-secret response.meta.json", { metaState: "no_regular_file", metaBytes: 0 }],
  ["a FIFO as meta", "mkfifo response.meta.json", { metaState: "no_regular_file" }],
  ["a directory as meta", "mkdir response.meta.json", { metaState: "no_regular_file" }],
  ["an empty body", ": > response.body", { bodyFile: true, responseState: "fine", responseBytes: 0 }],
  ["a body and no response.json", "echo > response.body; rm response.json", { bodyFile: true, responseBytes: 1 }],
  ["a body over the limit", "truncate -s 1001 response.body", { bodyFile: true, responseState: "over_limit" }],
  ["as much body as allowed", "truncate -s 1000 response.body", { bodyFile: true, responseBytes: 1000 }],
  ["a link as body", "ln -s ROOT/host-secret response.body", { bodyFile: true, responseState: "no_regular_file" }],
  ["a FIFO as body", "mkfifo response.body", { bodyFile: true, responseState: "no_regular_file" }],
  ["an endless device as body", "mknod response.body c 1 5", { bodyFile: true, responseState: "no_regular_file" }],
])("gate reports an answer of %s", async (_, script, expected) => {
  const command = sh(`cd "$CONTEXT_PATH"; ${script.replace("ROOT", root.path)}`);
  const call = await callGate(root.path, command, { id: crypto.randomUUID(), responseLimit: 1000 });
  expect(call.stderr).toBe("");
  expect(call.exit).toMatchObject(expected);
  expect(call.meta.length).toBe(call.exit?.metaBytes ?? -1);
  expect(call.response.length).toBe(call.exit?.responseBytes ?? -1);
});

test("gate returns each call's own answer", async () => {
  await using gate = new GateProcess(sh('cd "$CONTEXT_PATH"; . ./request.json'));
  await gate.expect("ready");
  for (const [body, meta, response] of [
    ["echo 12 > response.meta.json; echo 345 > response.body", "12\n", "345\n"],
    ["true", "", "{}"],
    ["echo 6 > response.meta.json", "6\n", "{}"],
    ["echo 7 > response.body", "", "7\n"],
  ] as const) {
    const told = await gate.serve(root.path, { body });
    expect([told.meta, told.response].map((bytes) => Buffer.from(bytes).toString())).toEqual([meta, response]);
    await gate.expect("ready");
  }
});

test("gate returns bytes that are not text unchanged", async () => {
  const call = await callGate(root.path, sh(`printf '\\000\\377\\r\\n' > "$CONTEXT_PATH/response.json"`), {
    id: crypto.randomUUID(),
  });
  expect(Buffer.from(call.response).toString("hex")).toBe("00ff0d0a");
});
