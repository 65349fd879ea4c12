import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Secret, SecretUse } from "../../../lib/domain/secrets.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { containersOf, full, isWarm, type Named, pool, seenBy, startOf, warmServer } from "../pool/pools.ts";

const LONG_MS = 120_000;

/** Collects everything that a function can read: variables and arguments of all processes, mounts, and all files except the kernel's. */
const DUMP = `{
  env; cat /proc/mounts; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline
  find / -xdev -type f ! -path "/bin/*" ! -path "/proc/*" ! -path "/sys/*" -exec cat {} +
  find /run/secrets /tmp /dev/shm /.slipway "$CONTEXT_PATH" -type f ! -name "gate*" ! -name response.body -print -exec cat {} \\;
} > "$CONTEXT_PATH/response.body" 2> /dev/null; exit 0`;

let engine: Engine;
let server: TestServer;
let shell: string;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start();
  shell = await fixture("shell");
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  const { data: functions } = (await server.api<Function[]>("GET", "/v1/functions")).body;
  for (const { id } of functions) await server.api("DELETE", `/v1/functions/${id}`);
  const { data: secrets } = (await server.api<Secret[]>("GET", "/v1/secrets")).body;
  for (const { name } of secrets) await server.api("DELETE", `/v1/secrets/${name}`);
});

async function put(name: string, value: string, on = server): Promise<void> {
  expect((await on.api("PUT", `/v1/secrets/${name}`, { value })).status).toBeOneOf([200, 201]);
}

/** Registers a function that is a line of shell. */
function script(line: string, settings: Partial<Function> = {}, on = server): Promise<Function> {
  return on.createFunction(shell, { entrypoint: ["sh", "-c"], command: [line], ...settings });
}

/** Returns the answer of a function that is a line of shell. */
async function said(fn: Named, on = server): Promise<string> {
  const response = await on.invoke(fn);
  const text = await response.text();
  expect([response.status, text]).toEqual([200, text]);
  return text;
}

/** Starts a call that runs until the returned object is disposed of. */
async function running(on: TestServer, fn: Named): Promise<AsyncDisposable> {
  const caller = new AbortController();
  const call = on.invoke(fn, "", { signal: caller.signal }).catch(() => undefined);
  const end = async () => {
    caller.abort();
    await call;
  };
  await pool(on, fn, ({ busy }) => busy === 1).catch(async (error: unknown) => {
    await end();
    throw error;
  });
  return { [Symbol.asyncDispose]: end };
}

function file(name: string): SecretUse {
  return { name, environment: null };
}

/** Returns everything that the engine shows of a function's containers: their settings and their output. */
async function engineKnows(fn: Named): Promise<string> {
  const ids = await containersOf(fn);
  expect(ids.length).toBeGreaterThan(0);
  const files = await Promise.all(ids.map((id) => engine.client.request("GET", `/containers/${id}/export`)));
  const exported = await Promise.all(files.map(async (one) => Buffer.from(await one.arrayBuffer()).toString("latin1")));
  return [await engine.docker("inspect", ...ids), ...exported].join("\n");
}

describe("a secret of a function", () => {
  const values = {
    plain: "correct horse",
    lines: " a\r\nb\n\n",
    binary: "a\0\u{1f511}\0",
    empty: "",
    long: "x".repeat(64_000),
  };

  test("is in its files and variables byte for byte", async () => {
    for (const [name, value] of Object.entries(values)) await put(name, value);
    const variables = ["plain", "lines", "empty", "long"];
    const secrets = [
      ...Object.keys(values).map(file),
      ...variables.map((name) => ({ name, environment: `IT_IS_${name}` })),
    ];
    const print = `cd /run/secrets; printf '%s,' * > /tmp/o; cat plain lines binary empty long >> /tmp/o
      printf '|%s|%s|%s|%s' "$IT_IS_plain" "$IT_IS_lines" "$IT_IS_empty" "$IT_IS_long" >> /tmp/o
      cp /tmp/o "$CONTEXT_PATH/response.body"`;
    const { plain, lines, binary, empty, long } = values;
    expect(await said(await script(print, { secrets }))).toBe(
      `binary,empty,lines,long,plain,${plain}${lines}${binary}${empty}${long}|${plain}|${lines}|${empty}|${long}`,
    );
  });

  test.each<[what: string, settings: Partial<Function>]>([
    ["root", {}],
    ["another user", { user: "1234:1234" }],
    ["a read-only root", { read_only: true }],
    ["the strict sandbox", { sandbox: "strict" }],
    ["the engine's own", { sandbox: "docker" }],
    ["one network for all", { share_network: true }],
    ["reuse", { max_calls: 0 }],
  ])("is available to %s", async (_, settings) => {
    await put("token", "hunter2-hunter2");
    const secrets = [file("token"), { name: "token", environment: "TOKEN" }];
    const fn = await script('printf \'"%s %s"\' "$(cat /run/secrets/token)" "$TOKEN" > "$CONTEXT_PATH/response.json"', {
      secrets,
      ...settings,
    });
    for (let call = 0; call < 2; call++) expect(await said(fn)).toBe('"hunter2-hunter2 hunter2-hunter2"');
  });

  test("is available to an empty image, and takes precedence over a variable of the image", async () => {
    await put("token", "hunter2-hunter2");
    const fn = await server.createFunction(await fixture("static"), {
      secrets: [
        { name: "token", environment: "TOKEN" },
        { name: "token", environment: "PATH" },
      ],
    });
    const { environment } = await seenBy(await server.invoke(fn, { do: "env" }));
    expect(environment).toMatchObject({ TOKEN: "hunter2-hunter2", PATH: "hunter2-hunter2" });
  });
});

describe("a secret is not visible anywhere else:", () => {
  const mine = "mine-8b1f0c";
  const others = "others-77d2e9";

  test("a function that looks everywhere finds only its own secrets", async () => {
    await put("mine", mine);
    await put("others", others);
    const neighbour = await script("sleep 60", {
      secrets: [file("others"), { name: "others", environment: "OTHERS" }],
    });
    await using _call = await running(server, neighbour);
    const all = await said(await script(DUMP, { secrets: [file("mine"), { name: "mine", environment: "MINE" }] }));
    expect(all).toContain(`MINE=${mine}`);
    expect(all).toContain(`/run/secrets/mine\n${mine}`);
    expect(all).toContain("tmpfs /run/secrets ");
    expect(all).not.toContain(others);
    const none = await said(await script(DUMP));
    expect(none).toContain("/tmp/context");
    for (const word of [mine, others, "MINE=", "tmpfs /run/secrets "]) expect(none).not.toContain(word);
  });

  test("the engine shows none, neither in a waiting nor in a running container", async () => {
    await using warm = await warmServer();
    await put("mine", mine, warm);
    const secrets = [file("mine"), { name: "mine", environment: "MINE" }];
    const settings = { secrets, warm_min: 1, warm_max: 1, max_calls: 0 };
    const fn = await script('echo "$MINE"; sleep 60', settings, warm);
    await full(warm, fn, 1);
    const [id = ""] = await containersOf(fn);
    expect(await engineKnows(fn)).not.toContain(mine);
    // Not even inside the container: the value comes with the call.
    expect(await engine.docker("exec", id, "sh", "-c", "ls -A /run/secrets; cat /proc/1/environ; true")).not.toContain(
      "mine",
    );
    await using _call = await running(warm, fn);
    const known = await engineKnows(fn);
    expect(known).toContain('"/run/secrets"');
    expect(known).not.toContain(mine);
    // Inside a running call it is available.
    expect(await engine.docker("exec", id, "cat", "/run/secrets/mine")).toBe(mine);
  });

  test("logs, records and the server's own files never contain a value that a function prints", async () => {
    await put("mine", mine);
    const secrets = [file("mine"), { name: "mine", environment: "MINE" }];
    const print = `echo "it is $MINE"; cat /run/secrets/mine >&2; printf '%s' "$MINE" | cut -c1-6; printf '%s' "$MINE" | cut -c7-`;
    const ok = await server.invoke(await script(print, { secrets }));
    // The message quotes a response that is not JSON.
    const bad = await server.invoke(await script('printf \'%s\' "$MINE" > "$CONTEXT_PATH/response.json"', { secrets }));
    const ids = [ok, bad].map((response) => response.headers.get("x-request-id") ?? "");
    expect([ok.status, bad.status]).toEqual([200, 502]);
    expect(await bad.text()).not.toContain("mine-");
    const [logs] = await Promise.all(ids.map((id) => server.logs(id)));
    const printed = logs?.entries.map(({ text }) => text).join("") ?? "";
    expect(printed).toContain("it is ");
    expect(printed).not.toContain(mine);
    for (const id of ids) {
      expect(JSON.stringify([await server.invocation(id), await server.logs(id)])).not.toContain(mine);
    }
    expect(server.log.filter((line) => line.includes(mine))).toEqual([]);
    const files = readdirSync(server.dataPath).map((name) => readFileSync(join(server.dataPath, name)));
    expect(files.filter((bytes) => bytes.includes(mine))).toEqual([]);
  });
});

describe("a change of a secret", () => {
  const PRINT = `printf '%s %s %s' "$(cat /run/secrets/*)" "$TOKEN" "$(hostname)" > "$CONTEXT_PATH/response.body"`;
  const secrets = [file("token"), { name: "token", environment: "TOKEN" }];

  test.each<[what: string, settings: Partial<Function>]>([
    ["instances that wait", { warm_min: 1 }],
    ["an instance that served another value", { warm_min: 1, warm_max: 1, max_calls: 0 }],
  ])(
    "takes effect at the next call, even in %s",
    async (_, settings) => {
      await using warm = await warmServer();
      await put("token", "first", warm);
      const fn = await script(PRINT, { secrets, ...settings }, warm);
      const hosts = new Set<string>();
      for (const value of ["first", "second", "third"]) {
        await pool(warm, fn, isWarm);
        const ready = await containersOf(fn);
        await put("token", value, warm);
        const response = await warm.invoke(fn);
        const [file, variable, host = ""] = (await response.text()).split(" ");
        expect([file, variable, startOf(response)]).toEqual([value, value, "warm"]);
        // No instance is replaced.
        expect(ready.some((id) => id.startsWith(host))).toBe(true);
        hosts.add(host);
      }
      expect(hosts.size).toBe(settings.max_calls === 0 ? 1 : 3);
    },
    LONG_MS,
  );

  test("leaves nothing of the old value in a reused instance", async () => {
    await using warm = await warmServer();
    await put("token", "hunter2-hunter2", warm);
    const fn = await script(DUMP, { secrets, max_calls: 0, warm_min: 1, warm_max: 1 }, warm);
    await full(warm, fn, 1);
    const before = await said(fn, warm);
    expect(before).toContain("TOKEN=hunter2-hunter2");
    await put("token", "other", warm);
    await pool(warm, fn, isWarm);
    const after = await said(fn, warm);
    expect(after).toContain("/run/secrets/token\nother");
    expect(after).not.toContain("hunter2");
    expect(after.split("\n")[0]).toBe(before.split("\n")[0] ?? "");
  });

  test("that deletes it gives a 502 with its name, and a PUT fixes that", async () => {
    await put("token", "one");
    const fn = await script(PRINT, { secrets });
    await server.api("DELETE", "/v1/secrets/token?force=true");
    const response = await server.invoke(fn);
    const message =
      'The function\'s secret "token" does not exist: PUT /v1/secrets/token, or take it out of the function\'s "secrets"';
    expect([response.status, await response.json()]).toMatchObject([502, { reason: "secret_unavailable", message }]);
    const record = await server.invocation(response.headers.get("x-request-id") ?? "");
    expect(record).toMatchObject({ status: "failed", reason: "secret_unavailable", message });
    await put("token", "two");
    expect(await said(fn)).toStartWith("two two ");
  });
});
