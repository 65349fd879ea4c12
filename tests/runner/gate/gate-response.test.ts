import { afterAll, beforeAll, expect, test } from "bun:test";
import { callGate, scratch, sh, type Scratch } from "./gate-process.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
  await Bun.write(`${root.path}/host-secret`, "secret");
});
afterAll(() => root[Symbol.asyncDispose]());

/** A program that leaves a socket behind: Bun removes its own when it exits in peace. */
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
  ["as much as the limit", "truncate -s 1000 response.json", "fine"],
] as const)("gate reports a response that is %s", async (what, script, responseState) => {
  const command = sh(`cd "$CONTEXT_PATH" && ${script.replace("ROOT", root.path)}`);
  const call = await callGate(root.path, command, { id: crypto.randomUUID(), responseLimit: 1000 });
  expect(call.stderr).toBe("");
  expect(call.exit).toMatchObject({ responseState });
  const sizes: Record<string, number> = {
    "as much as the limit": 1000,
    "an empty file": 0,
    "a file moved into place": 9,
  };
  const size = responseState === "fine" ? (sizes[what] ?? 2) : 0;
  expect(call.response.length).toBe(size);
});

test("gate reports a response that it may not read", async () => {
  await Bun.$`chmod 1777 ${root.path}`;
  const prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
  const call = await callGate(root.path, sh('chmod 0 "$CONTEXT_PATH/response.json"'), {
    id: crypto.randomUUID(),
    prefix,
  });
  expect(call.exit).toMatchObject({ responseState: "unreadable", responseBytes: 0 });
});

test("gate passes bytes that are no text unchanged", async () => {
  const call = await callGate(root.path, sh(`printf '\\000\\377\\r\\n' > "$CONTEXT_PATH/response.json"`), {
    id: crypto.randomUUID(),
  });
  expect(Buffer.from(call.response).toString("hex")).toBe("00ff0d0a");
});
