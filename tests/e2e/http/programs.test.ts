import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { TestServer } from "../../support/server.ts";

/** Servers of Debian that know nothing of functions, each as it is. */
let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const LINE_BYTES = 20;

/** Returns a line of the image's numbers.txt. */
function line(at: number): string {
  return `${at}\n`.padStart(LINE_BYTES);
}

describe("nginx, with the configuration of its package", () => {
  let url: string;

  beforeAll(async () => {
    const { client } = await acquireEngine();
    const settings = { network: "none", max_calls: 0, concurrency: 8, warm_max: 1 } as const;
    const fn = await server.createFunction(await baseImage(client, "nginx"), settings);
    const { contract, contract_reason, port, port_reason } = fn;
    expect([contract, contract_reason, port, port_reason]).toEqual(["http", "exposed_port", 80, "exposed"]);
    const { body } = await server.api("POST", "/v1/routes", { path: "/nginx/*", function_id: fn.id });
    if (!body.success) throw new Error(body.message);
    url = `${server.url}/r/nginx`;
  });

  test("serves a page, and says 404 of what is not there", async () => {
    const page = await fetch(`${url}/`);
    expect([page.status, page.headers.get("content-type"), await page.text()]).toEqual([
      200,
      "text/html",
      "<!doctype html><title>hello</title>\n",
    ]);
    expect(page.headers.get("server")).toStartWith("nginx/");
    const missing = await fetch(`${url}/missing`);
    expect([missing.status, await missing.text()]).toEqual([404, expect.stringContaining("404 Not Found")]);
  });

  test("serves a part of a file", async () => {
    const from = 1_000 * LINE_BYTES;
    const range = `bytes=${from}-${from + LINE_BYTES - 1}`;
    const answer = await fetch(`${url}/numbers.txt`, { headers: { Range: range } });
    expect([answer.status, await answer.text()]).toEqual([206, line(1_000)]);
    expect(answer.headers.get("content-range")).toBe(`bytes ${from}-${from + LINE_BYTES - 1}/${20 << 20}`);
  });

  test("answers 304 to who has the page, with its validator", async () => {
    // Of a page that it compresses, nginx weakens the validator.
    const page = await fetch(`${url}/`, { headers: { "Accept-Encoding": "identity" } });
    const etag = page.headers.get("etag") ?? "none";
    const answer = await fetch(`${url}/`, { headers: { "If-None-Match": etag } });
    expect([answer.status, await answer.text(), answer.headers.get("etag")]).toEqual([304, "", etag]);
    expect((await fetch(`${url}/`, { headers: { "If-None-Match": '"other"' } })).status).toBe(200);
  });

  test("serves 20 MiB as they are, and their length to HEAD", async () => {
    const sum = new Bun.CryptoHasher("sha256");
    for (let at = 0; at < 1 << 20; at++) sum.update(line(at));
    const got = new Bun.CryptoHasher("sha256");
    for await (const piece of (await fetch(`${url}/numbers.txt`)).body ?? []) got.update(piece);
    expect(got.digest("hex")).toBe(sum.digest("hex"));
    const head = await fetch(`${url}/numbers.txt`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(20 << 20)]);
  });
});
