import { afterAll, beforeAll, expect, test } from "bun:test";
import { startBrowser } from "../../http/support/browser.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** A browser may have to be installed, and the image to be made. */
const TIMEOUT_MS = 300_000;
const HOST = "app.example.com";

let server: TestServer;

beforeAll(async () => {
  const image = await fixture("page");
  server = await TestServer.start();
  // A site: one instance for all that a page asks for.
  const settings = { network: "none", max_calls: 0, concurrency: 32, warm_max: 1 } as const;
  const { id, contract_reason } = await server.createFunction(image, settings);
  expect(contract_reason).toBe("exposed_port");
  for (const where of [{ hosts: [HOST] }, { path: "/page/*" }]) {
    const { body } = await server.api("POST", "/v1/routes", { function_id: id, ...where });
    if (!body.success) throw new Error(body.message);
  }
}, TIMEOUT_MS);

afterAll(() => server[Symbol.asyncDispose]());

/** The result that the page's script leaves when it has come to its end. */
declare const found: object;

test(
  "a page at a host of its own runs its script, which fetches, listens to events and opens a WebSocket in its own origin",
  async () => {
    await using browser = await startBrowser(`--host-resolver-rules=MAP ${HOST} 127.0.0.1`);
    const page = await browser.context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));

    const origin = `http://${HOST}:${new URL(server.url).port}`;
    const answer = await page.goto(`${origin}/`);
    expect([answer?.status(), answer?.headers()["content-security-policy"]]).toEqual([200, undefined]);
    await page.waitForFunction("document.title === 'done'");
    expect(await page.evaluate(() => found)).toEqual({
      greeting: "Hello, Ada!",
      origin,
      numbers: [1, 2, 3],
      said: `hello from ${origin}`,
      own: origin,
      cookie: "greeted=Ada",
      visits: "1",
    });
    expect(await page.locator("#greeting").textContent()).toBe("!adA ,olleH");
    const color = "getComputedStyle(document.querySelector('#greeting')).color";
    expect(await page.evaluate(color)).toBe("rgb(0, 128, 0)");
    expect(complaints).toEqual([]);

    // In the origin of the API the same page is in a sandbox.
    const shared = await page.goto(`${server.url}/r/page/`);
    expect(shared?.headers()["content-security-policy"]).toBe("sandbox");
    expect([await page.title(), complaints.join()]).toEqual(["waiting", expect.stringContaining("sandboxed")]);
  },
  TIMEOUT_MS,
);
