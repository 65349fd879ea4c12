import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { buildServerImage } from "./support/server-image.ts";

/** The first build installs compilers and packages. */
const BUILD_TIMEOUT_MS = 600_000;

let engine: Engine;
let image: string;
let url: string;
const name = `slipway-test-server-${process.pid}`;
const contextName = `slipway-test-context-${process.pid}`;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await buildServerImage(engine.client);
  const settings = [
    "-e",
    "AUTH=off",
    "-e",
    "TRUST_GATEWAY=on",
    "-e",
    "WARM_MAX=0",
    "-e",
    `CONTEXT_NAME=${contextName}`,
  ];
  const socket = `${engine.socket}:/var/run/docker.sock`;
  await engine.docker("run", "-d", "--name", name, "-p", "127.0.0.1:0:9999", ...settings, "-v", socket, image);
  const published = await engine.docker("port", name, "9999");
  url = `http://localhost:${published.trim().split(":").at(-1)}`;
  await untilHealthy();
}, BUILD_TIMEOUT_MS);

afterAll(async () => {
  await engine.docker("rm", "-fv", name);
  await engine.docker("volume", "rm", "-f", contextName);
});

/** Runs the image's own health check until it succeeds. */
async function untilHealthy(container = name): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await engine.docker("exec", container, "slipway", "healthcheck");
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await Bun.sleep(100);
    }
  }
}

/** Sends what `curl URL -d BODY` does: a form, whatever the body is. */
async function curl(path: string, body: string): Promise<{ status: number; data: Record<string, unknown> }> {
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const response = await fetch(url + path, { method: "POST", headers, body });
  const data: unknown = await response.json();
  return { status: response.status, data: data as Record<string, unknown> }; // every answer here is an object
}

test("the image answers the seed's curl lines", async () => {
  const created = await curl("/v1/functions", JSON.stringify({ image: await fixture("chaos") }));
  expect(created.status).toBe(201);
  const { id } = created.data["data"] as { id: string };
  const route = await curl("/v1/routes", JSON.stringify({ path: "/hello-world", function_id: id }));
  expect(route.status).toBe(200);
  const called = await curl("/r/hello-world", '{"message": "hello-world"}');
  expect(called).toEqual({ status: 200, data: { message: "hello-world" } });
});

test("a function cannot reach /v1 of a server on its bridge, whatever Host header it sends", async () => {
  const address = await engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name);
  const request = { do: "fetch", ip: address.trim(), port: 9999, path: "/v1/functions", host: "localhost:9999" };
  const { data } = await curl("/r/hello-world", JSON.stringify(request));
  expect(data["status"]).toBe(401);
});

test("A3: the gateway is trusted only with TRUST_GATEWAY=on: with the port on all addresses, functions come from there", async () => {
  const open = `${name}-open`;
  const settings = ["-e", "AUTH=off", "-e", "WARM_MAX=0", "-e", `CONTEXT_NAME=${contextName}`];
  const socket = `${engine.socket}:/var/run/docker.sock`;
  await engine.docker("run", "-d", "--name", open, "-p", "0:9999", ...settings, "-v", socket, image);
  try {
    const [, published] = /^0\.0\.0\.0:(\d+)$/m.exec(await engine.docker("port", open, "9999")) ?? [];
    const openUrl = `http://127.0.0.1:${published}`;
    await untilHealthy(open);
    const gateway = (await engine.docker("inspect", "-f", "{{.NetworkSettings.Gateway}}", open)).trim();
    const request = { do: "fetch", ip: gateway, port: Number(published), path: "/v1/functions", host: "localhost" };
    const { data } = await curl("/r/hello-world", JSON.stringify(request));
    expect(data).toMatchObject({ status: 401, body: expect.stringContaining("TRUST_GATEWAY=on") });
    expect((await fetch(`${openUrl}/v1/functions`)).status).toBe(401);
  } finally {
    await engine.docker("rm", "-fv", open);
  }
});

test("the image has a health check and stops at SIGTERM with exit code 0", async () => {
  expect(await engine.docker("inspect", "-f", "{{.Config.Healthcheck.Test}}", image)).toContain("slipway healthcheck");
  await engine.docker("stop", name);
  expect((await engine.docker("inspect", "-f", "{{.State.ExitCode}}", name)).trim()).toBe("0");
});
