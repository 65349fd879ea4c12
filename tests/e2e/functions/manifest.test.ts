import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { AppliedManifest } from "../../../lib/domain/manifest/manifest.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { SLIPWAY } from "../../support/program.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, environmentOf, isWarm, pool, warmServer } from "../pool/pools.ts";

const LONG_MS = 240_000;

let image: string;
let other: string;

beforeAll(async () => {
  image = await fixture("chaos");
  other = await fixture("static");
});

async function apply(server: TestServer, body: object, query = ""): Promise<string[]> {
  const { changes } = expectSuccess(await server.api<AppliedManifest>("POST", `/v1/apply${query}`, body));
  return changes.map(({ action, name }) => `${action} ${name}`);
}

/** A manifest with one function and a route; calls return the step. */
function manifestOf(step: number, of: string = image) {
  // Half of the engine's work for a container is its network.
  const fn = { image: of, environment: { STEP: String(step) }, max_calls: step % 2, network: "none" };
  return { manifest: { version: 1, functions: { app: fn }, routes: { "/app": { function: "app" } } } };
}

function call(server: TestServer): Promise<Response> {
  return fetch(`${server.url}/r/app`, { method: "POST", body: JSON.stringify({ do: "env" }) });
}

async function shown(server: TestServer, name: string): Promise<Function> {
  return expectSuccess(await server.api<Function>("GET", `/v1/functions/${name}`));
}

describe("a manifest", () => {
  test(
    "applied under load loses no call, and the next one sees it; applied again it starts nothing",
    async () => {
      await using server = await warmServer();
      await apply(server, manifestOf(0));
      const fn = await shown(server, "app");
      await pool(server, fn, isWarm);
      const statuses: number[] = [];
      const done = new AbortController();
      const callers = Array.from({ length: 3 }, async () => {
        while (!done.signal.aborted) statuses.push((await call(server)).status);
      });
      for (let step = 1; step <= 4; step++) {
        const body = manifestOf(step, step % 3 === 0 ? other : image);
        expect(await apply(server, body)).toEqual(["updated app", "unchanged /app"]);
        expect((await environmentOf(await call(server)))["STEP"]).toBe(String(step));
        expect(await apply(server, body)).toEqual(["unchanged app", "unchanged /app"]);
        expect(await shown(server, "app")).toMatchObject({ id: fn.id, version: step + 1 });
      }
      done.abort();
      await Promise.all(callers);
      expect(statuses.length).toBeGreaterThan(4);
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
    },
    LONG_MS,
  );

  test("warms its functions, and a prune removes their containers", async () => {
    await using server = await warmServer();
    const functions = { a: { image, warm_min: 1, warm_max: 1 }, b: { image, warm_min: 2, warm_max: 2 } };
    await apply(server, { manifest: { version: 1, functions } });
    const [a, b] = [await shown(server, "a"), await shown(server, "b")];
    await pool(server, a, ({ ready }) => ready === 1);
    await pool(server, b, ({ ready }) => ready === 2);
    await apply(server, { manifest: { version: 1, functions: { a: functions.a } }, prune: true });
    await containersBecome(0, b);
    expect((await server.invoke(a)).status).toBe(200);
    expect((await server.invoke(b)).status).toBe(404);
  });

  test("with a missing image changes nothing, while calls are running", async () => {
    await using server = await TestServer.start();
    await apply(server, manifestOf(1));
    const before = expectSuccess(await server.api("GET", "/v1/functions"));
    const functions = { ...manifestOf(2).manifest.functions, missing: { image: `nowhere-${crypto.randomUUID()}` } };
    const calls = Array.from({ length: 3 }, () => call(server));
    for (const dry_run of [false, true]) {
      const reply = await server.api("POST", "/v1/apply", {
        manifest: { version: 1, functions },
        dry_run,
        prune: true,
      });
      // A dry run pulls nothing and cannot know.
      expect(reply.status).toBe(dry_run ? 200 : reply.status);
      if (!dry_run) expect(reply.body.message).toStartWith('Function "missing": Cannot pull image "nowhere-');
      expect(expectSuccess(await server.api("GET", "/v1/functions"))).toEqual(before);
    }
    for (const response of await Promise.all(calls)) expect((await environmentOf(response))["STEP"]).toBe("1");
    expect((await environmentOf(await call(server)))["STEP"]).toBe("1");
  });

  test("ignores a tag that has moved, unless it pulls", async () => {
    await using server = await TestServer.start();
    const engine = await acquireEngine();
    const tag = `slipway-test/moving:${crypto.randomUUID().slice(0, 8)}`;
    await engine.docker("tag", image, tag);
    await apply(server, manifestOf(1, tag));
    const before = await shown(server, "app");
    await engine.docker("tag", other, tag);
    expect(await apply(server, manifestOf(1, tag))).toEqual(["unchanged app", "unchanged /app"]);
    expect((await shown(server, "app")).image_id).toBe(before.image_id);
    expect(await apply(server, manifestOf(1, tag), "?pull=true")).toEqual(["updated app", "unchanged /app"]);
    const after = await shown(server, "app");
    expect([after.image_id === before.image_id, after.version]).toEqual([false, 2]);
    await engine.docker("rmi", tag);
  });
});

describe("slipway apply", () => {
  let server: TestServer;
  let directory: string;

  beforeAll(async () => {
    server = await TestServer.start({ API_KEY: "the-key" });
    directory = await mkdtemp(join(tmpdir(), "slipway-apply-"));
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  beforeEach(async () => {
    await Bun.write(
      join(directory, "slipway.yaml"),
      "version: 1\nfunctions:\n  app: {image: '${IMAGE}', timeout_ms: '${TIMEOUT:-5000}', environment: {A: \"${A:-}\"}}\nroutes:\n  /app: {function: app}\n",
    );
  });

  /** Runs the command in the directory; returns its exit code and output. */
  async function slipway(args: readonly string[], variables: Readonly<Record<string, string>> = {}, input = "") {
    const child = Bun.spawn([...SLIPWAY, ...args], {
      cwd: directory,
      env: {
        PORT: new URL(server.url).port,
        API_KEY: "the-key",
        PATH: process.env["PATH"] ?? "",
        IMAGE: image,
        ...variables,
      },
      stdin: new Blob([input]),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return [await child.exited, output, errors] as const;
  }

  test("shows what would change, changes it, and then finds nothing to do", async () => {
    const lines = ["+ function app", "+ route /app", "2 created"].join("\n");
    expect(await slipway(["apply", "--dry-run"])).toEqual([3, `${lines} (a dry run: nothing was done)\n`, ""]);
    expect(await slipway(["apply"])).toEqual([0, `${lines}\n`, ""]);
    expect(await slipway(["apply", "slipway.yaml"])).toEqual([0, "2 unchanged\n", ""]);
    expect(await slipway(["apply", "--dry-run"])).toEqual([0, "2 unchanged (a dry run: nothing was done)\n", ""]);
    expect(await slipway(["apply"], { TIMEOUT: "100", A: "secret", UNUSED: "x" })).toEqual([
      0,
      "~ function app: timeout_ms 5000 -> 100, environment/A changed\n1 updated, 1 unchanged\n",
      "",
    ]);
    const [code, exported, errors] = await slipway(["export"]);
    expect([code, errors]).toEqual([0, ""]);
    expect(exported).toStartWith(`version: 1\nfunctions:\n  app:\n    image: ${image}\n    timeout_ms: 100\n`);
    expect(await slipway(["apply", "-", "--prune"], {}, exported)).toEqual([0, "2 unchanged\n", ""]);
    expect(await slipway(["apply", "-", "--prune"], {}, "version: 1")).toEqual([
      0,
      "- route /app\n- function app\n2 deleted\n",
      "",
    ]);
  });

  test("prints what is wrong and exits with 1 or 2", async () => {
    await Bun.write(join(directory, "wrong.yaml"), "version: 1\nfunctions: {app: {imag: x}}\n");
    await Bun.write(join(directory, "key"), "the-key\n");
    expect(await slipway(["apply", "wrong.yaml"])).toEqual([
      1,
      "",
      'slipway: Unknown field "functions/app/imag": did you mean "image"?\n',
    ]);
    const [code, , errors] = await slipway(["apply", "none.yaml"]);
    expect([code, errors]).toEqual([
      2,
      expect.stringContaining('slipway: Cannot read the manifest "none.yaml": there is no such file'),
    ]);
    const keyFile = { API_KEY: "", API_KEY_FILE: join(directory, "key") };
    expect((await slipway(["export"], keyFile))[0]).toBe(0);
    const refused = await slipway(["export"], { API_KEY: "wrong" });
    expect([refused[0], refused[2]]).toEqual([1, expect.stringMatching(/^slipway: .*key/)]);
    const nobody = await slipway(["export", "--port", "1"]);
    expect([nobody[0], nobody[2]]).toEqual([
      1,
      expect.stringContaining("slipway: no answer from http://127.0.0.1:1: "),
    ]);
    expect((await slipway(["export", "--prune"]))[2]).toBe("slipway: --prune is for slipway apply: leave it out\n");
  });
});
