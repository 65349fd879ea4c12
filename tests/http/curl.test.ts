import { afterAll, beforeAll, expect, test } from "bun:test";
import { fixture } from "../support/images.ts";
import { ensureProgram, runOrThrow } from "../../.ci/packages.ts";
import { TestServer } from "../support/server.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  await ensureProgram("curl", ["curl"]);
  server = await TestServer.start();
  image = await fixture("static");
});

afterAll(() => server[Symbol.asyncDispose]());

/** Runs a line of the README of go-serverless, with this server's port and ids filled in. */
async function shell(line: string, ...known: readonly (readonly [string, string])[]): Promise<unknown> {
  const { port } = new URL(server.url);
  const text = [["localhost:9999", `localhost:${port}`] as const, ...known].reduce(
    (written, [from, to]) => written.replace(from, to),
    line,
  );
  return JSON.parse(await runOrThrow(["sh", "-c", text.replace("curl ", "curl -sS ")]));
}

test("curl lines of go-serverless work unchanged", async () => {
  expect(await shell("curl http://localhost:9999/v1/functions")).toEqual({
    success: true,
    message: "success",
    data: [],
  });
  expect(await shell("curl http://localhost:9999/v1/routes")).toEqual({ success: true, message: "success", data: [] });

  const created = await shell(
    `curl http://localhost:9999/v1/functions -d '{
  "image": "ghcr.io/xprnio/serverless-hello-world:latest"
}'`,
    ["ghcr.io/xprnio/serverless-hello-world:latest", image],
  );
  expect(created).toMatchObject({ success: true, message: "success", data: { image, environment: {} } });
  const [{ id } = { id: "" }] = (await server.api<{ id: string }[]>("GET", "/v1/functions")).body.data;

  const routed = await shell(
    `curl http://localhost:9999/v1/routes -d '{
  "path": "/hello-world",
  "function_id": "00000000-0000-0000-0000-000000000000"
}'`,
    ["00000000-0000-0000-0000-000000000000", id],
  );
  expect(routed).toMatchObject({ success: true, data: { path: "/hello-world", function: { id, image } } });

  const answer = await shell(`curl http://localhost:9999/r/hello-world -d '{
  "message": "hello-world"
}'`);
  expect(answer).toEqual({ message: "hello-world" });
});

test("curl gets a 413 while it is still sending", async () => {
  const args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", `${server.url}/r/none`];
  expect(await runOrThrow(["curl", ...args], new Uint8Array(20 * 1024 * 1024))).toBe("404");
  args[args.length - 1] = `${server.url}/v1/routes`;
  expect(await runOrThrow(["curl", ...args], new Uint8Array(20 * 1024 * 1024))).toBe("413");
});
