import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestServer } from "../../support/server.ts";
import { COMPLAINT, opened, startBrowser } from "../support/browser.ts";
import { expectError } from "../support/replies.ts";

/** A browser may have to be installed (13 s if the packages are near), and starts in 2 s. */
const TIMEOUT_MS = 180_000;

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

const text = async (path: string): Promise<string> => (await fetch(server.url + path)).text();

describe("GET /docs", () => {
  test.each([
    ["/docs", "text/html; charset=utf-8"],
    ["/docs/", "text/html; charset=utf-8"],
    ["/docs/functions", "text/html; charset=utf-8"],
    ["/docs/manual.css", "text/css; charset=utf-8"],
    ["/docs/search-box.js", "text/javascript; charset=utf-8"],
    ["/docs/search.json", "application/json"],
  ])("%s is %s and may load nothing from elsewhere", async (path, type) => {
    const reply = await fetch(server.url + path);
    expect(reply.status).toBe(200);
    expect(reply.headers.get("content-type")).toBe(type);
    expect(reply.headers.get("content-security-policy")).toStartWith("default-src 'none'; ");
    expect(await reply.text()).not.toMatch(/(src|href)="https?:\/\/[^"]*\.(js|css)/);
  });

  test("GET /docs lists every page", async () => {
    const index = await text("/docs");
    const pages = new Set([...index.matchAll(/href="\/docs\/([a-z-]+)"/g)].map(([, name]) => name));
    expect(pages.size).toBeGreaterThan(10);
    for (const page of pages) expect((await fetch(`${server.url}/docs/${page}`)).status).toBe(200);
  });

  test("GET /docs/:page links to other pages, and not to files that only a clone has", async () => {
    const html = await text("/docs/functions");
    expect(html).toContain('<a href="/docs/asynchronous-calls#chains">');
    expect(html).not.toMatch(/href="[^"]*\.md/);
    expect(html).not.toContain('href="..');
    expect(html).not.toContain("<!-- ");
  });

  test("GET /docs/:page answers 404 in an envelope when there is no such page", async () => {
    expectError(await server.api("GET", "/docs/nowhere"), {
      status: 404,
      reason: "not_found",
      message: 'The manual has no page "nowhere": GET /docs lists its pages',
    });
    expectError(await server.api("GET", "/docs/constructor"), { status: 404, reason: "not_found" });
  });

  test("GET /docs/search.json has every heading of every page", async () => {
    const sections = (await (await fetch(`${server.url}/docs/search.json`)).json()) as Record<string, string>[];
    for (const { page, anchor } of sections) {
      if (anchor !== "") expect(await text(`/docs/${page}`)).toContain(` id="${anchor}"`);
    }
    expect(sections.find(({ heading }) => heading === "Chains")).toMatchObject({
      page: "asynchronous-calls",
      title: "Asynchronous calls",
      anchor: "chains",
    });
  });
});

test(
  "the manual can be read and searched in a browser, with only the keyboard, and loads nothing from elsewhere",
  async () => {
    await using browser = await startBrowser();
    const page = await browser.context.newPage();
    const asked: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (message) => {
      if (message.type() === "error" && message.text() !== COMPLAINT) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));

    await opened(page, `${server.url}/docs`, () => page.locator("#search").waitFor());
    expect(await page.title()).toBe("Slipway manual");
    await page.keyboard.press("/");
    await page.keyboard.type("signature webhooks");
    const found = page.locator("#results [role=option]");
    await found.first().waitFor();
    expect(await found.first().textContent()).toStartWith("Asynchronous calls: Callbacks");
    await page.keyboard.press("ArrowDown");
    expect(await page.locator("#search").getAttribute("aria-activedescendant")).toBe("result-0");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/docs/asynchronous-calls#callbacks");
    expect(await page.locator("#callbacks").isVisible()).toBe(true);
    expect(await page.locator("nav [aria-current=page]").textContent()).toBe("Asynchronous calls");

    await page.locator("#search").fill("zzzz");
    await page.getByText("Nothing found").waitFor();
    await page.keyboard.press("Escape");
    expect(await page.locator("#results").isVisible()).toBe(false);
    await page.locator(".contents a", { hasText: "Schedules" }).click();
    await page.waitForURL("**#schedules");

    // On a phone nothing is wider than the screen, and the list of pages is behind a button.
    await page.setViewportSize({ width: 390, height: 844 });
    for (const name of ["asynchronous-calls", "settings", "configuration"]) {
      await page.goto(`${server.url}/docs/${name}`);
      expect(await page.locator("html").evaluate(({ scrollWidth }) => scrollWidth)).toBe(390);
    }
    expect(await page.locator("#pages").isVisible()).toBe(false);
    await page.locator("#menu").click();
    expect(await page.locator("#pages").isVisible()).toBe(true);

    expect(asked.length).toBeGreaterThan(4);
    expect(asked.filter((url) => !url.startsWith("data:") && new URL(url).origin !== server.url)).toEqual([]);
    expect(complaints).toEqual([]);
  },
  TIMEOUT_MS,
);
