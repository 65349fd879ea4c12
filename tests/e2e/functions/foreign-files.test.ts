import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import type { Schedule } from "../../../lib/domain/schedules.ts";
import { Person } from "../../cli/support/slipway.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { Receiver } from "../../support/receiver.ts";
import { TestServer } from "../../support/server.ts";

/** A web server that answers with its surroundings, after `?ms=`, and with how many requests it has had at once. */
const SERVER = `
const { readFileSync, existsSync, writeFileSync } = require("fs");
const read = (paths) => paths.filter(existsSync).map((path) => readFileSync(path, "utf8").trim())[0];
const writes = (path) => { try { writeFileSync(path, "x"); return true; } catch { return false; } };
let now = 0, most = 0, asked = 0;
Bun.serve({ port: Number(process.env.PORT ?? 8080), idleTimeout: 0, fetch: async (request) => {
  const url = new URL(request.url);
  if (url.pathname === "/healthy") { asked++; return new Response(asked > 2 ? "yes" : "no", { status: asked > 2 ? 200 : 503 }); }
  most = Math.max(most, ++now);
  await Bun.sleep(Number(url.searchParams.get("ms") ?? 0));
  now--;
  const body = await request.text();
  return Response.json({ method: request.method, path: url.pathname, query: url.search, body, most, asked, args: process.argv.slice(1),
    env: process.env, uid: process.getuid(), cwd: process.cwd(), writes: writes("/written"), kept: writes("/models/written"),
    memory: Number(read(["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])),
    pids: Number(read(["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"])),
    secret: read(["/var/openfaas/secrets/word", "/run/secrets/word"]) }, { status: body === "refuse" ? 418 : 200 });
} });
`;

interface Said {
  readonly [name: string]: unknown;
  readonly env: Readonly<Record<string, string>>;
  readonly most: number;
}

const MIB = 2 ** 20;
const WATCHDOG = "slipway-test/watchdog:1";

let server: TestServer;
let person: Person;
let receiver: Receiver;
let engine: Engine;
let bun: string;

beforeAll(async () => {
  receiver = await Receiver.start();
  [server, engine, bun] = await Promise.all([
    TestServer.start({ CALLBACK_ALLOW: "127.0.0.1", MIN_SCHEDULE_INTERVAL_MS: "1s" }),
    acquireEngine(),
    fixture("bun"),
  ]);
  person = await Person.arrive({ SLIPWAY_URL: server.url, REGISTRY: "slipway-test" });
  await server.api("PUT", "/v1/secrets/word", { value: "s3cret" });
  const of = `CMD ${JSON.stringify(["bun", "-e", SERVER, "fwatchdog"])}`;
  await engine.docker("tag", await imageWith(engine, bun, of), WATCHDOG);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await person[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  await engine.docker("volume", "rm", "--force", "slipway-test-models");
  await engine.docker("rmi", WATCHDOG);
});

/** Applies a file, and returns what the command prints. */
async function apply(file: object, ...flags: string[]): Promise<string> {
  // JSON is YAML, too.
  const { code, stdout, stderr } = await person.types(["apply", "-", ...flags], { input: JSON.stringify(file) });
  expect([code, stderr.replaceAll(/^! (?:provider\.gateway|services\.\w+): .*\n/gm, "")]).toEqual([0, ""]);
  return stdout;
}

async function functionNamed(name: string): Promise<Function> {
  return (await server.api<Function>("GET", `/v1/functions/${name}`)).body.data;
}

async function call(name: string, path = "", init: RequestInit = {}): Promise<Said> {
  const response = await fetch(`${server.url}/function/${name}${path}`, { timeout: false, ...init });
  expect(response.status).toBe(200);
  return (await response.json()) as Said; // as the script has it
}

const schedules = async () => (await server.api<Schedule[]>("GET", "/v1/schedules")).body.data;

test("a stack.yml becomes functions that are called as with OpenFaaS, and by the clock", async () => {
  const stack = (annotations: object) => ({
    version: 1,
    provider: { name: "openfaas" },
    functions: {
      watched: {
        image: "${REGISTRY}/watchdog:1",
        fprocess: "node index.js",
        environment: { greeting: "a $$ sign", exec_timeout: "3s" },
        secrets: ["word"],
        labels: { team: "a" },
        limits: { memory: "128Mi", cpu: "500m" },
        readonly_root_filesystem: true,
        annotations,
      },
    },
  });
  const cron = { topic: "cron-function", schedule: "* * * * * *" };
  expect(await apply(stack(cron))).toBe("+ function watched\n1 created\n");
  const fn = await functionNamed("watched");
  expect(fn).toMatchObject({ contract: "http", contract_reason: "watchdog", cpus: 0.5, timeout_ms: 3_000 });
  const said = await call("watched", "/a%20b?x=1", { method: "PUT", body: "hello" });
  expect(said).toMatchObject({ method: "PUT", path: "/a%20b", query: "?x=1", body: "hello" });
  expect(said).toMatchObject({ memory: 128 * MIB, writes: false, secret: "s3cret" });
  expect(said.env).toMatchObject({ greeting: "a $ sign", fprocess: "node index.js" });
  // Its own status, and its own timeout.
  const refused = await fetch(`${server.url}/function/watched.openfaas-fn`, { method: "POST", body: "refuse" });
  expect(refused.status).toBe(418);
  expect((await fetch(`${server.url}/function/watched?ms=60000`)).status).toBe(504);

  const headers = { "X-Callback-Url": receiver.url, "X-Call-Id": "of-1" };
  const queued = await fetch(`${server.url}/async-function/watched/later?y=2`, {
    method: "POST",
    headers,
    body: "refuse",
  });
  expect([queued.status, queued.headers.get("x-call-id"), await queued.text()]).toEqual([202, "of-1", ""]);
  const told = await receiver.get(1);
  expect(told.headers).toMatchObject({ "x-call-id": "of-1", "x-function-name": "watched", "x-function-status": "418" });
  expect(JSON.parse(told.body)).toMatchObject({ path: "/later", query: "?y=2", body: "refuse" });

  const [made] = await schedules();
  expect(made).toMatchObject({ function_id: fn.id, cron: "* * * * * *", timezone: "UTC" });
  const path = "/v1/invocations?function_id=watched&status=succeeded";
  await eventually(async () => {
    const { invocations } = (await server.api<InvocationPage>("GET", path)).body.data;
    return invocations.filter(({ schedule_id }) => schedule_id === made?.id).length > 1;
  });

  expect(await apply(stack(cron))).toBe("1 unchanged\n");
  expect(await schedules()).toMatchObject([{ id: made?.id }]);
  await apply(stack({ ...cron, schedule: "0 3 * * *", timezone: "Europe/Berlin" }));
  expect(await schedules()).toMatchObject([{ id: made?.id, cron: "0 3 * * *", timezone: "Europe/Berlin" }]);
  await apply(stack({}));
  expect(await schedules()).toEqual([]);
  await apply(stack(cron));
  expect(await schedules()).toHaveLength(1);
  // One that was lost on the way is made at the next time.
  await server.api("DELETE", `/v1/schedules/${(await schedules())[0]?.id}`);
  await apply(stack(cron));
  expect(await schedules()).toHaveLength(1);
  const wrong = { input: JSON.stringify(stack({ ...cron, schedule: "at noon" })) };
  expect(await person.types(["apply", "-"], wrong)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^slipway: Function "watched": Invalid "cron" "at noon"/m),
  });
  expect(await apply({ version: 1, functions: {} }, "--prune")).toBe("- function watched\n1 deleted\n");
  expect(await schedules()).toEqual([]);
});

test("a service of Knative or Cloud Run becomes a server with its scale, limits and probe", async () => {
  const container = {
    image: bun,
    command: ["bun"],
    args: ["-e", SERVER, "an argument"],
    workingDir: "/tmp",
    ports: [{ containerPort: 9000 }],
    env: [
      { name: "PORT", value: "9000" },
      { name: "PRICE", value: "$5" },
      { name: "WORD", valueFrom: { secretKeyRef: { name: "word", key: "latest" } } },
    ],
    resources: { limits: { memory: "192Mi", cpu: "1" } },
    readinessProbe: { httpGet: { path: "/healthy", port: 9000 } },
    securityContext: { runAsUser: 1000, readOnlyRootFilesystem: true },
  };
  const annotations = { "autoscaling.knative.dev/max-scale": "1", "autoscaling.knative.dev/min-scale": "1" };
  const template = {
    metadata: { annotations },
    spec: { containerConcurrency: 2, timeoutSeconds: 3, containers: [container] },
  };
  const service = {
    apiVersion: "serving.knative.dev/v1",
    kind: "Service",
    metadata: { name: "known" },
    spec: { template },
  };
  const { stdout, stderr } = await person.types(["apply", "-"], { input: JSON.stringify(service) });
  expect(stdout).toBe("+ function known\n1 created\n");
  expect(stderr).toMatch(
    /^! \S+secretKeyRef: the variable WORD gets the secret "word" as a whole, not its key "latest"\n$/,
  );
  expect(await functionNamed("known")).toMatchObject({
    contract: "http",
    port: 9000,
    ready_path: "/healthy",
    concurrency: 2,
    max_concurrency: 2,
    warm_min: 1,
    timeout_ms: 3_000,
    cpus: 1,
    max_calls: 0,
  });
  const calls = await Promise.all(Array.from({ length: 4 }, () => call("known", "/?ms=200")));
  for (const said of calls) {
    expect(said).toMatchObject({ memory: 192 * MIB, uid: 1000, cwd: "/tmp", writes: false, args: ["an argument"] });
    expect(said.env).toMatchObject({ PRICE: "$5", WORD: "s3cret", PORT: "9000" });
    // Asked until it was ready; the trial has asked its own instance.
    expect(said["asked"]).toBe(3);
  }
  // Two at once in the one instance, and never more.
  expect(Math.max(...calls.map(({ most }) => most))).toBe(2);
  expect((await fetch(`${server.url}/function/known?ms=60000`)).status).toBe(504);
  await apply({ version: 1, functions: {} }, "--prune");
});

test("a service of a compose file that is labelled becomes a function with its limits, and the others stay where they are", async () => {
  await Bun.write(join(person.home, "more.env"), "MORE=1\n");
  const shop = {
    image: bun,
    entrypoint: "bun -e",
    command: [SERVER, "an argument"],
    environment: { SIZE: "${SIZE:-100}" },
    env_file: "more.env",
    user: "1000",
    working_dir: "/tmp",
    read_only: true,
    mem_limit: "192m",
    cpus: 0.5,
    pids_limit: 60,
    secrets: ["word"],
    volumes: ["slipway-test-models:/models:ro"],
    ports: ["8080"],
    labels: {
      "slipway.contract": "http",
      "slipway.timeout_ms": "3000",
      "slipway.max_calls": "0",
      "slipway.concurrency": "2",
      team: "a",
    },
  };
  expect(await apply({ services: { shop, db: { image: "postgres" } } })).toBe("+ function shop\n1 created\n");
  expect(await functionNamed("shop")).toMatchObject({
    contract: "http",
    port: 8080,
    timeout_ms: 3_000,
    concurrency: 2,
    cpus: 0.5,
    labels: { team: "a" },
    volumes: [{ name: "slipway-test-models", path: "/models", read_only: true }],
  });
  const said = await call("shop", "/", { method: "POST", body: "x" });
  expect(said).toMatchObject({ memory: 192 * MIB, uid: 1000, cwd: "/tmp", writes: false, kept: false, pids: 60 });
  expect(said).toMatchObject({ args: ["an argument"], secret: "s3cret", body: "x" });
  expect(said.env).toMatchObject({ SIZE: "100", MORE: "1" });
  expect((await fetch(`${server.url}/function/shop?ms=60000`)).status).toBe(504);
  await apply({ version: 1, functions: {} }, "--prune");
});
