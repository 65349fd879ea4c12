import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { VERSION } from "../../lib/version.ts";
import { acquireEngine, type Engine } from "../../.ci/engine/engine.ts";
import { containersOf } from "../e2e/pool/pools.ts";
import { expectSuccess } from "../http/support/replies.ts";
import { fixture } from "../support/images.ts";
import { eventually } from "../support/pace.ts";
import { TestServer } from "../support/server.ts";
import { Person, type Typed } from "./support/slipway.ts";

/** A program of a shell: the body of the request is the script. */
const SCRIPT = {
  entrypoint: ["sh", "-c", 'cd "$CONTEXT_PATH" && sh ./request.json'],
  command: [],
  contract: "files",
  max_calls: 0,
  network: "none",
  retry: { max_attempts: 1, min_ms: 0, max_ms: 0, on: [] },
} satisfies Partial<Function>;

let engine: Engine;
let server: TestServer;
let person: Person;
let script: Function;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start();
  person = await Person.arrive({ SLIPWAY_URL: server.url });
  script = await server.createFunction(await fixture("shell"), { name: "script", ...SCRIPT });
});

afterAll(async () => {
  await person[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Types a command that must succeed, and returns what it prints. */
async function slipway(...words: readonly string[]): Promise<string> {
  const typed = await person.types(words);
  expect({ words, ...typed }).toMatchObject({ code: 0 });
  return typed.stdout;
}

/** The same with --json. */
async function json<T = Record<string, unknown>>(...words: readonly string[]): Promise<T> {
  return JSON.parse(await slipway(...words, "--json")) as T; // the test checks it
}

function fails(words: readonly string[], options: Parameters<Person["types"]>[1] = {}): Promise<Typed> {
  return person.types(words, options);
}

describe("functions:", () => {
  test("ls and show print tables for people and JSON for programs", async () => {
    const listed = await slipway("ls");
    expect(listed).toMatch(/^NAME {2,}IMAGE {2,}VERSION {2,}CHANGED {2,}ID\n/);
    expect(listed).toMatch(/\nscript {2,}slipway-test\/shell:\w+ {2,}1 {2,}(\d+s ago|in 0s) {2,}[0-9a-f-]{36}\n/);
    expect(await json<object[]>("ls")).toEqual([expect.objectContaining({ name: "script", version: 1 })]);
    const shown = await slipway("show", "script");
    expect(shown).toMatch(/^timeout_ms {2,}30000$/m);
    expect(shown).toMatch(/^instances {2,}\d+ ready, \d+ starting, \d+ busy/m);
    const { id, pool } = await json<{ id: string; pool: object }>("show", "script");
    expect(pool).toMatchObject({ busy: 0 });
    expect(await json("show", id)).toMatchObject({ name: "script" });
  });

  test("an unknown name is told with the closest one", async () => {
    const typed = await fails(["show", "skript"]);
    expect(typed).toEqual({
      code: 1,
      stdout: "",
      stderr: 'slipway: No function "skript": did you mean "script"? "slipway ls" lists them\n',
    });
    for (const words of [
      ["rm", ".."],
      ["invoke", ""],
      ["logs", "."],
    ])
      expect((await fails(words)).code).toBe(1);
    expect(await json<object[]>("ls")).toHaveLength(1);
  });

  test("versions and rollback, to the version before or to a named one, and rm", async () => {
    const { id } = await server.createFunction(await fixture("shell"), { name: "changing", ...SCRIPT });
    await server.api("PATCH", `/v1/functions/${id}`, { timeout_ms: 5_000 });
    await server.api("PATCH", `/v1/functions/${id}`, { timeout_ms: 6_000 });
    expect(await slipway("versions", "changing")).toMatch(/^VERSION .*\n3 {2,}yes .*\n2 {2,}- .*\n1 {2,}- /);
    expect(await slipway("rollback", "changing")).toContain("changing is at version 4: ");
    expect(await json("show", "changing")).toMatchObject({ timeout_ms: 5_000 });
    await slipway("rollback", "changing", "1");
    expect(await json("show", "changing")).toMatchObject({ timeout_ms: 30_000, version: 5 });
    expect(await slipway("rm", "changing")).toBe("Deleted the function changing\n");
    expect((await fails(["rm", "changing"])).stderr).toContain('No function "changing"');
  });

  test("routes are created, listed with their URL, and deleted by their path", async () => {
    expect(await slipway("routes", "create", "/run", "script", "--methods", "get,post", "--require-key")).toBe(
      `${server.url}/r/run calls script\n`,
    );
    expect(await slipway("routes")).toMatch(
      /\n\/run {2,}script {2,}GET,POST {2,}key {2,}current {2,}http:\S+\/r\/run\n/,
    );
    expect(await slipway("show", "script")).toMatch(/^routes {2,}\/r\/run$/m);
    expect((await fails(["rm", "script"])).stderr).toEndWith("or use --cascade\n");
    expect((await fails(["routes", "rm", "/rum"])).stderr).toContain('No route "/rum": did you mean "/run"?');
    expect(await slipway("routes", "rm", "/r/run")).toBe("Deleted the route /run\n");
    expect(await person.types(["routes"])).toMatchObject({
      stdout: "",
      stderr: expect.stringContaining("No routes yet"),
    });
    expect((await fails(["routes", "create", "/x", "scrip"])).stderr).toContain('did you mean "script"?');
  });

  test("apply takes a file, standard input and dry runs, and export prints what it made", async () => {
    const image = await fixture("shell");
    const text = `version: 1\nfunctions:\n  applied:\n    image: \${IMAGE}\n`;
    const input = { input: text, env: { IMAGE: image } };
    expect(await person.types(["apply", "-", "--dry-run"], input)).toMatchObject({
      code: 3,
      stdout: expect.stringContaining("+ function applied"),
    });
    expect(await person.types(["--dry-run", "apply", "-"], input)).toMatchObject({ code: 3 });
    await Bun.write(join(person.home, "slipway.yaml"), text);
    expect(await person.types(["apply"], input)).toMatchObject({ code: 0, stdout: "+ function applied\n1 created\n" });
    expect(await person.types(["apply", "slipway.yaml", "--dry-run"], input)).toMatchObject({ code: 0 });
    expect(await slipway("export")).toContain(`  applied:\n    image: ${image}\n`);
    expect(await json("export")).toMatchObject({ version: 1, functions: { applied: { image } } });
    const { stdout } = await person.types(["apply", "--json"], input);
    expect(JSON.parse(stdout)).toMatchObject({ dry_run: false, changes: [{ name: "applied", action: "unchanged" }] });
    await slipway("rm", "applied");
  });
});

describe("calls:", () => {
  test("invoke sends an argument, a file or standard input, and prints the answer as it is", async () => {
    const size = "wc -c < request.json > response.json";
    expect(await slipway("invoke", "script", size)).toBe(`${size.length}\n`);
    await Bun.write(join(person.home, "body"), `${size}\n`);
    expect(await slipway("invoke", "script", "@body")).toBe(`${size.length + 1}\n`);
    expect(await person.types(["invoke", "script", "-"], { input: size })).toMatchObject({
      stdout: `${size.length}\n`,
    });
    const bytes = 'printf "\\033[31m\\377" > response.body; echo {} > response.json';
    expect(await json("invoke", "script", bytes)).toMatchObject({ status: 200, body_base64: "G1szMW3/" });
    expect(await slipway("invoke", "script", size, "-i")).toStartWith("HTTP 200\n");
  });

  test("invoke fails with 4 if the function does, and says how to see why", async () => {
    const failed = await fails(["invoke", "script", "echo why >&2; exit 3"]);
    expect(failed.code).toBe(4);
    const [, id = ""] = /"slipway logs ([0-9a-f-]{36})" shows what it has printed\n$/.exec(failed.stderr) ?? [];
    expect(await slipway("logs", id)).toBe("why\n");
    const refused = await fails([
      "invoke",
      "script",
      "echo '{\"status\": 404}' > response.meta.json; echo {} > response.json",
    ]);
    expect(refused).toEqual({ code: 4, stdout: "{}\n", stderr: "slipway: The function answered 404\n" });
  });

  test("invoke --async prints the id; with --wait it prints the answer", async () => {
    const id = (await slipway("invoke", "script", "echo 1 > response.json", "--async", "--delay", "1h")).trim();
    expect(await slipway("queue")).toMatch(new RegExp(`\n${id} {2,}script {2,}queued .* in (?:1h|59m) `));
    expect(await slipway("invocations", "cancel", id)).toBe(`The invocation ${id} is cancelled\n`);
    expect(await slipway("invoke", "script", "echo 2 > response.json", "--async", "--wait")).toBe("2\n");
    const key = crypto.randomUUID();
    const once = ["invoke", "script", "echo $$ > response.json", "--async", "--wait", "30s", "--idempotency-key", key];
    expect(await slipway(...once)).toBe(await slipway(...once));
    const late = await fails(["invoke", "script", "sleep 60", "--async", "--delay", "1h", "--wait", "0"]);
    expect(late.stderr).toMatch(/The invocation \S+ is still queued: "slipway logs -f \S+" follows it/);
  });

  test("stats prints a line for each step, and one for all of them", async () => {
    await slipway("invoke", "script", "echo {} > response.json");
    const lines = (await slipway("stats", "script")).trimEnd().split("\n");
    expect(lines[0]).toMatch(/^FROM {2,}CALLS {2,}ERRORS {2,}COLD {2,}P50 {2,}P95 {2,}P99 {2,}QUEUE P95 {2,}SENT$/);
    expect(lines.at(-1)).toMatch(/^all {2,}[1-9]\d* {2,}\d+ {2,}\d+ {2,}[\d.]+m?s /);
    expect([14, 15]).toContain(lines.length);
    expect(await json("stats", "--since", "7d", "--step", "1d")).toMatchObject({ step_ms: 86_400_000, complete: true });
    expect((await fails(["stats", "--step", "7s"])).stderr).toContain('Invalid "step" "7s": give "minute"');
  });

  test("logs prints what the latest calls of a function have printed, each line with its call", async () => {
    for (const text of ["one", "two"]) await slipway("invoke", "script", `echo ${text}; echo {} > response.json`);
    const lines = (await slipway("logs", "script", "-n", "2")).split("\n");
    expect(lines).toEqual([
      expect.stringMatching(/^[0-9a-f]{12} {2}one$/),
      expect.stringMatching(/^[0-9a-f]{12} {2}two$/),
      "",
    ]);
    expect(await slipway("invocations", "--function", "script", "--status", "succeeded", "-n", "1")).toMatch(
      /^ID .*\n[0-9a-f-]{36} {2,}script {2,}succeeded {2,}- {2,}(warm|cold) /,
    );
    const [{ id }] = await json<[{ id: string }]>("invocations", "-n", "1");
    expect(await slipway("invocations", "show", id)).toMatch(/^status {2,}succeeded$/m);
  });

  test("logs -f goes on with a running call and with new ones", async () => {
    const following = person.starts(["logs", "-f", "script", "-n", "1"]);
    let printed = "";
    const read = (async () => {
      for await (const chunk of following.stdout) printed += new TextDecoder().decode(chunk);
    })();
    const until = (text: string) => eventually(() => printed.includes(text), 20_000);
    expect(await until("two")).toBe(true);
    const running = person.types([
      "invoke",
      "script",
      "echo begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo over; echo {} > response.json",
    ]);
    expect(await until("begun")).toBe(true);
    expect(printed).not.toContain("over");
    expect(await slipway("invoke", "script", "echo new; echo 1 > response.json")).toBe("1\n");
    expect(await until("new")).toBe(true);
    // A call sees only its own container: what this one waits for comes from outside. Other containers may be ending.
    for (const id of await containersOf(script)) {
      await engine.docker("exec", id, "touch", "/tmp/go").catch(() => undefined);
    }
    expect(await until("over")).toBe(true);
    expect(await running).toMatchObject({ code: 0, stdout: "{}\n" });
    following.kill();
    await read;
  });

  test("dead lists calls that failed for good, and replays them", async () => {
    const id = (await slipway("invoke", "script", "exit 9", "--async")).trim();
    expect((await fails(["invoke", "script", "exit 9", "--async", "--wait"])).code).toBe(4);
    expect(await eventually(async () => (await slipway("dead", "--function", "script")).includes(id))).toBe(true);
    expect(await slipway("dead", "replay", id)).toStartWith(`${id} is queued again as `);
    // The one that was replayed may have failed again by now.
    expect(await slipway("dead", "replay", "--all", "--function", "script")).toMatch(/^[12] queued again, 0 left\n$/);
    const unknown = await fails(["dead", "replay", "--all", "--function", "skript"]);
    expect(unknown.stderr).toContain('did you mean "script"?');
  });

  test("ps shows instances, and status how the server is doing", async () => {
    expect(await slipway("ps", "--all")).toMatch(/^FUNCTION {2,}VERSION {2,}ISOLATION .*\nscript {2,}1 {2,}process /);
    const idle = [{ function: "script", busy: 0 }];
    expect(await eventually(async () => Bun.deepMatch(idle, await json<object[]>("ps", "script")))).toBe(true);
    const status = await slipway("status");
    expect(status).toMatch(new RegExp(`^server {2,}${server.url}$`, "m"));
    expect(status).toMatch(new RegExp(`^version {2,}${VERSION}$`, "m"));
    expect(status).toMatch(/^engine {2,}ok$/m);
    expect(await json("status")).toMatchObject({ ready: true, engine: { ok: true }, waiting_calls: 0 });
    expect(await slipway("healthcheck")).toContain('"ready":true');
  });

  test("schedules are created, paused, resumed and deleted by the name of their function", async () => {
    expect(
      await slipway("schedules", "create", "script", "@daily", "--timezone", "Europe/Berlin", "--body", '{"a": 1}'),
    ).toMatch(/^Created the schedule \S+; it runs next in \d+[hms]\n$/);
    expect(await slipway("schedules")).toMatch(
      /\n[0-9a-f-]{36} {2,}script {2,}@daily {2,}Europe\/Berlin {2,}active {2,}in /,
    );
    expect(await slipway("schedules", "pause", "script")).toMatch(/ is paused\n$/);
    expect(await json<object[]>("schedules")).toEqual([expect.objectContaining({ paused: true, body: { a: 1 } })]);
    expect(await slipway("schedules", "resume", "script")).toMatch(/ runs next in /);
    await slipway("schedules", "create", "script", "@hourly");
    const several = await fails(["schedules", "rm", "script"]);
    const [, one = "", two = ""] =
      /has 2 schedules: name one of them by its id \((\S+), (\S+)\)/.exec(several.stderr) ?? [];
    await slipway("schedules", "rm", one, two);
    expect(await json<object[]>("schedules")).toEqual([]);
    expect((await fails(["schedules", "create", "script", "@soon"])).stderr).toContain('Invalid "cron" "@soon"');
  });
});

describe("access:", () => {
  test("secrets come from standard input or a file, are never printed, and stay while they are used", async () => {
    expect(await person.types(["secrets", "set", "TOKEN", "-"], { input: "s3cret\n" })).toEqual({
      code: 0,
      stdout: "Set the secret TOKEN\n",
      stderr: "",
    });
    await server.api("PATCH", "/v1/functions/script", { secrets: [{ name: "TOKEN", environment: "TOKEN" }] });
    expect(await slipway("invoke", "script", 'printf "$TOKEN" | wc -c > response.json')).toBe("6\n");
    expect(await slipway("secrets")).toMatch(/\nTOKEN {2,}script {2,}/);
    expect((await fails(["secrets", "rm", "TOKEN"])).code).toBe(1);
    await server.api("PATCH", "/v1/functions/script", { secrets: [] });
    expect((await fails(["secrets", "rm", "TOKAN"])).stderr).toContain('did you mean "TOKEN"?');
    expect(await slipway("secrets", "rm", "TOKEN")).toBe("Deleted the secret TOKEN\n");
    expect((await fails(["secrets", "set", "TOKEN"])).stderr).toContain(
      "There is no terminal to ask on: use slipway secrets set NAME -",
    );
  });

  test("registries are set, listed and deleted", async () => {
    const set = ["registries", "set", "registry.example.com:5000", "-u", "bot", "--password-stdin", "--unchecked"];
    expect(await person.types(set, { input: "word\n" })).toMatchObject({
      code: 0,
      stdout: "Stored the credentials of registry.example.com:5000\n",
    });
    expect(await slipway("registries")).toMatch(/\nregistry.example.com:5000 {2,}password {2,}bot {2,}- /);
    await Bun.write(join(person.home, "config.json"), JSON.stringify({ auths: {}, credsStore: "desktop" }));
    expect((await fails(["registries", "import", "config.json"])).code).toBe(0);
    expect(await slipway("registries", "rm", "registry.example.com:5000")).toContain("Deleted the credentials of ");
  });

  test("keys are created with a token for scripts, listed, and revoked by name; audit tells of it", async () => {
    const token = (await slipway("keys", "create", "ci", "--scope", "read", "--scope", "invoke")).trim();
    expect(token).toMatch(/^slipway_\S{43}$/);
    expect(await slipway("keys")).toMatch(/\n[0-9a-f-]{36} {2,}ci {2,}read,invoke {2,}all {2,}active {2,}-\n/);
    const forbidden = await fails(["rm", "script"], { env: { API_KEY: token } });
    expect(forbidden.stderr).toContain('This needs a key with the scope "deploy" or "admin"');
    expect(await slipway("keys", "revoke", "ci")).toMatch(/^Revoked the key ci \(/);
    expect((await fails(["ls"], { env: { API_KEY: token } })).stderr).toContain(
      `Log in again with "slipway login ${server.url}"`,
    );
    expect(await slipway("audit", "--event", "refused_key", "-n", "2")).toMatch(
      /^AT .*\n\S+ {2,}refused_key {2,}GET \/v1\/functions {2,}401 /,
    );
    expect(await slipway("audit")).toContain("POST /v1/keys");
    expect((await fails(["keys", "revoke", "cl"])).stderr).toContain('did you mean "ci"?');
  });

  test("login saves a server and its key in a file for its owner only; its key goes nowhere else", async () => {
    await using keyed = await TestServer.start({ AUTH: "on", API_KEY: "the-key" });
    await using other = await Person.arrive();
    const refused = await other.types(["ls", "--url", keyed.url]);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toBe(
      `slipway: ${keyed.url} needs an API key: log in with "slipway login ${keyed.url}", or set API_KEY\n`,
    );
    expect((await other.types(["login", keyed.url], { env: { API_KEY: "wrong" } })).code).toBe(1);
    expect((await other.types(["ls"])).stderr).toContain("no answer from http://127.0.0.1:9999");
    expect(
      await other.types(["login", keyed.url, "--name", "here", "--key-stdin"], { input: "the-key\n" }),
    ).toMatchObject({
      code: 0,
      stdout: `Logged in to ${keyed.url} as "here"; saved in ${other.home}/.config/slipway/servers.json\n`,
    });
    const file = Bun.file(join(other.home, ".config/slipway/servers.json"));
    expect(((await file.stat()).mode & 0o777).toString(8)).toBe("600");
    for (const words of [["ls"], ["--url", keyed.url, "ls"], ["--server", "here", "ls"]]) {
      expect(await other.types(words)).toMatchObject({ code: 0 });
    }
    // The other server counts wrong keys, so one that came would be in its audit.
    expect((await other.types(["ls", "--url", server.url])).code).toBe(0);
    expect(await other.types(["login", server.url])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("which needs no key"),
    });
    expect((await other.types(["servers"])).stdout).toMatch(
      /\nhere {2,}http\S+ {2,}- {2,}yes\n127\.\S+ {2,}http\S+ {2,}yes {2,}none\n/,
    );
    expect((await other.types(["servers", "--json"])).stdout).not.toContain("the-key");
    expect((await other.types(["servers", "use", "here"])).stdout).toBe(`Commands call ${keyed.url} now\n`);
    expect((await other.types(["servers", "use", "hare"])).stderr).toContain('did you mean "here"?');
    expect((await other.types(["logout"])).stdout).toContain("Forgot here and its key");
    expect(await file.text()).not.toContain("the-key");
    await Bun.write(file, "{}");
    expect(await other.types(["ls"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Delete it and log in again"),
    });
  });
});

test("without functions, ls says how to make one", async () => {
  await using empty = await TestServer.start();
  expect((await fails(["ls", "--url", empty.url])).stderr).toBe(
    "No functions yet: slipway deploy makes one of a folder or an image, slipway apply those of a manifest\n",
  );
});

test("without a server, every command says how to start one or name another", async () => {
  const env = { SLIPWAY_URL: "http://127.0.0.1:1" };
  for (const words of [["ls"], ["invoke", "x"], ["logs", "x"], ["status"], ["login", "http://127.0.0.1:1"]]) {
    expect(await fails(words, { env })).toEqual({
      code: 1,
      stdout: "",
      stderr:
        'slipway: no answer from http://127.0.0.1:1: nothing listens there. Start the server with "slipway serve", or name ' +
        'another with --url or "slipway login"\n',
    });
  }
});

test("something else than Slipway at the address is told", async () => {
  using site = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("<html>", { status: 404 }) });
  const env = { SLIPWAY_URL: `http://127.0.0.1:${site.port}` };
  for (const words of [["ls"], ["status"], ["invoke", "x"]]) {
    expect((await fails(words, { env })).stderr).toContain("and not as Slipway does: check --url");
  }
});

test("a reader that leaves early is no error", async () => {
  const child = person.starts(["show", "script"]);
  await child.stdout.cancel();
  expect([0, 1].includes(await child.exited)).toBe(true);
  expect(await child.stderr.text()).toBe("");
});

test("replies are those of the API", async () => {
  const listed = expectSuccess(await server.api("GET", "/v1/functions"));
  expect(await json<unknown>("ls")).toEqual(listed);
});
