import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { forget, inside, inspected, mountAt } from "../calls/inside.ts";
import { containersOf, full, isWarm, type Named, pool, warmServer } from "../pool/pools.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";

const MIB = 1024 * 1024;
const LONG_MS = 180_000;

let engine: Engine;
let image: string;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
  server = await TestServer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

function change(fn: Named, settings: Partial<Function>): Promise<{ readonly status: number }> {
  return server.api("PATCH", `/v1/functions/${fn.id}`, settings);
}

describe("entrypoint and command", () => {
  const answer = 'echo "\\"$0 $*\\"" > "$CONTEXT_PATH/response.json"';

  test.each<[Partial<Function>, string]>([
    [{ entrypoint: ["sh", "-c", answer] }, "sh "],
    [{ entrypoint: ["sh", "-c"], command: [answer, "a", "b c"] }, "a b c"],
    [{ command: ["-c", answer, "x"] }, "x "],
    [{ entrypoint: [], command: ["sh", "-c", answer, "", "y"] }, " y"],
  ])("%j runs like `docker run`", async (settings, expected) => {
    // Entrypoint `sh`, command `function.sh`.
    const fn = await server.createFunction(await fixture("shell"), settings);
    const response = await server.invoke(fn);
    expect([response.status, await response.text()]).toEqual([200, `"${expected}"\n`]);
  });

  test("null restores the image's own", async () => {
    const fn = await server.createFunction(await fixture("shell"), { entrypoint: ["false"], command: ["x"] });
    expect((await server.invoke(fn)).status).toBe(502);
    await change(fn, { entrypoint: null, command: null });
    expect(await (await server.invoke(fn)).json()).toMatchObject({ greeting: "hello", cwd: "/app" });
  });

  test("of the maximum length reach the function", async () => {
    const word = "x".repeat(4095);
    const command = ["-c", 'echo "$#" > "$CONTEXT_PATH/response.json"', "sh", ...Array<string>(60).fill(word)];
    const environment = Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`V${i}`, "y".repeat(128_000)]));
    const fn = await server.createFunction(await fixture("shell"), { command, environment });
    expect(await (await server.invoke(fn)).text()).toBe("60\n");
  });
});

describe("user and working_dir", () => {
  test("are those of the process; null means the image's own", async () => {
    const fn = await server.createFunction(image, { user: "1234:5678", working_dir: "/some/where/new" });
    expect(await inside(server, fn)).toMatchObject({ uid: 1234, gid: 5678, cwd: "/some/where/new" });
    await change(fn, { user: "nobody", working_dir: null });
    expect(await inside(server, fn)).toMatchObject({ uid: 65534, cwd: "/" });
  });

  test.each<[Partial<Function>, string]>([
    [{ user: "nobody-there" }, 'the image has no user "nobody-there"; check the function\'s "user"'],
    [{ user: "1:nogroup-there" }, 'the image has no group "nogroup-there"; check the function\'s "user"'],
    [
      { working_dir: "/etc/passwd" },
      '"working_dir" "/etc/passwd" cannot be entered; check that it is a directory and that the user may',
    ],
  ])("%j is a 502 if the image does not have it", async (settings, message) => {
    const fn = await server.createFunction(image, settings);
    const response = await server.invoke(fn);
    expect([response.status, await response.json()]).toMatchObject([
      502,
      {
        reason: "entrypoint_failed",
        message: expect.stringContaining(`Cannot start a container of image "${image}": ${message}. The engine said: `),
      },
    ]);
  });
});

describe("context_bytes and log_bytes", () => {
  test("context_bytes is the size of the context's tmpfs", async () => {
    const fn = await server.createFunction(image, { context_bytes: 2 * MIB });
    expect(mountAt(await inside(server, fn), "/tmp/context")).toMatch(/,size=2048k[, ]/);
    const write = { do: "write", path: "/tmp/context/fill", bytes: 3 * MIB };
    expect(await (await server.invoke(fn, write)).json()).toMatchObject({ errno: "ENOSPC" });
    const response = await server.invoke(fn, new Uint8Array(3 * MIB).fill(32));
    expect(await response.json()).toMatchObject({
      reason: "function_failed",
      message:
        'The request could not be written into the context: no space left. Raise "context_bytes", and "memory_bytes" above it.',
    });
  });

  test.each([0, 10, null])("log_bytes %j limits the output that is kept of a call", async (log_bytes) => {
    const fn = await server.createFunction(image, { log_bytes });
    const response = await server.invoke(fn, { do: "log", text: "0123456789abcdef" });
    expect(response.status).toBe(200);
    const record = await server.invocation(response.headers.get("x-request-id") ?? "");
    const kept = log_bytes ?? 16;
    expect(record).toMatchObject({ log_bytes: kept, log_dropped_bytes: 16 - kept });
    const { entries, dropped_bytes } = await server.logs(record.id);
    expect([entries.map(({ text }) => text).join("|"), dropped_bytes]).toEqual([
      { 0: "", 10: "01234|bcdef", null: "0123456789abcdef" }[String(log_bytes)] ?? "",
      16 - kept,
    ]);
  });
});

describe("network", () => {
  test("`none` has only a loopback", async () => {
    const fn = await server.createFunction(image, { network: "none" });
    expect((await inside(server, fn)).interfaces).toEqual(["lo"]);
    await change(fn, { network: "bridge" });
    expect((await inside(server, fn)).interfaces.toSorted()).toEqual(["eth0", "lo"]);
  });

  test("one of the engine's is joined; when it is gone calls fail with a message, and work again with another", async () => {
    // A name that could be confused with an image in the engine's message.
    const name = `image-${crypto.randomUUID()}`;
    await engine.docker("network", "create", name);
    const fn = await server.createFunction(image, { network: name });
    expect(await inspected(server, fn, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}")).toBe(name);
    await removeNetwork(name);
    const began = performance.now();
    const response = await server.invoke(fn);
    await expectWithin(performance.now() - began, 5_000);
    expect(response.headers.get("retry-after")).not.toBeNull();
    expect([response.status, await response.json()]).toMatchObject([
      503,
      {
        reason: "engine_unavailable",
        message: expect.stringContaining(
          `Cannot start a container of image "${image}": the engine has no network "${name}" any more: create it again, or PATCH the function's "network". The engine said: `,
        ),
      },
    ]);
    await change(fn, { network: "none" });
    expect((await inside(server, fn)).interfaces).toEqual(["lo"]);
  });

  test("is the holder's if shared, and another holder's after a change, for calls that begin then", async () => {
    const name = `slipway-test-${crypto.randomUUID()}`;
    await engine.docker("network", "create", name);
    await using warm = await warmServer();
    // Its call below lasts as long as the machine is slow.
    const settings = { network: name, share_network: true, warm_min: 1, warm_max: 1, timeout_ms: 300_000 };
    const fn = await warm.createFunction(image, settings);
    const modes = async () => {
      const format = "{{.HostConfig.NetworkMode}}";
      // One by one: a container may go between the list and its turn.
      const inspect = (id: string) => engine.docker("inspect", "--format", format, id).catch(() => "");
      const listed = (await Promise.all((await containersOf(fn)).map(inspect))).filter((mode) => mode !== "");
      return listed.map((mode) => mode.trim().replace(/^container:.*/, "joined"));
    };
    await full(warm, fn, 1);
    expect((await modes()).toSorted()).toEqual(["joined", name].toSorted());
    // Long enough for the next instance to start meanwhile.
    const call = warm.invoke(fn, { do: "sleep", ms: 1_500 * (await slowdown()) });
    await pool(warm, fn, ({ busy }) => busy === 1);
    await warm.api("PATCH", `/v1/functions/${fn.id}`, { network: "none" });
    // Of the new version; the running call is of the previous one.
    await pool(warm, fn, ({ ready, busy }) => ready === 1 && busy === 0);
    expect(await modes()).toEqual(expect.arrayContaining(["joined", "none", name]));
    expect((await call).status).toBe(200);
    const response = await warm.invoke(fn, { do: "env" });
    expect(await response.json()).toMatchObject({ interfaces: ["lo"] });
    await removeNetwork(name);
  });
});

/** Removes a network, with retries: the engine takes a moment to let the last container go. */
async function removeNetwork(name: string): Promise<void> {
  const remove = () => engine.docker("network", "rm", name);
  const removed = () =>
    remove().then(
      () => true,
      () => false,
    );
  if (!(await eventually(removed))) await remove();
}

describe("runtime and labels", () => {
  test("are shown by the engine; other labels of the function and the image do not hide ours", async () => {
    const info = (await engine.client.json("GET", "/info")) as { Runtimes: object; DefaultRuntime: string }; // its format
    const runtime = Object.keys(info.Runtimes).find((name) => name !== info.DefaultRuntime && /v2|crun/.test(name));
    const own = await imageWith(engine, image, "LABEL slipway.owner=x", "LABEL team=image", "LABEL kept=yes");
    const labels = { team: "checkout", "com.example.empty": "" };
    const fn = await server.createFunction(own, { runtime: runtime ?? info.DefaultRuntime, labels });
    const said = await inspected(server, fn, "{{.HostConfig.Runtime}} {{json .Config.Labels}}");
    expect(said).toStartWith(`${runtime ?? info.DefaultRuntime} {`);
    const shown: unknown = JSON.parse(said.slice(said.indexOf("{")));
    expect(shown).toMatchObject({ ...labels, kept: "yes", "slipway.function": fn.id });
    expect(shown).not.toMatchObject({ "slipway.owner": "x" });
    await forget(server, fn, own);
  });
});

describe("a change under load", () => {
  test(
    "fails no call, and the next one sees it",
    async () => {
      await using warm = await warmServer();
      const fn = await warm.createFunction(image);
      await pool(warm, fn, isWarm);
      const statuses: number[] = [];
      const done = new AbortController();
      const callers = Array.from({ length: 3 }, async () => {
        while (!done.signal.aborted) statuses.push((await warm.invoke(fn, { do: "exit" })).status);
      });
      const changes: readonly [Partial<Function>, object][] = [
        [{ user: "1000:1000" }, { uid: 1000, gid: 1000 }],
        [{ working_dir: "/tmp" }, { cwd: "/tmp" }],
        [{ sandbox: "strict" }, { interfaces: ["lo"], status: { CapBnd: "0000000000000000" } }],
        [{ entrypoint: ["/usr/bin/chaos"], command: ["x"], context_bytes: 3 * MIB }, { uid: 1000 }],
        [
          { sandbox: "docker", user: null, read_only: false },
          { uid: 0, status: { NoNewPrivs: "0" } },
        ],
        [{ sandbox: "default", share_network: true }, { status: { NoNewPrivs: "1" } }],
        [{ network: "bridge", working_dir: null }, { cwd: "/" }],
      ];
      for (const [settings, seen] of changes) {
        const reply = await warm.api("PATCH", `/v1/functions/${fn.id}`, settings);
        expect([settings, reply.status]).toEqual([settings, 200]);
        const response = await warm.invoke(fn, { do: "env" });
        expect([response.status, await response.json()]).toMatchObject([200, seen]);
      }
      done.abort();
      await Promise.all(callers);
      expect(statuses.length).toBeGreaterThan(changes.length);
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
    },
    LONG_MS,
  );
});
