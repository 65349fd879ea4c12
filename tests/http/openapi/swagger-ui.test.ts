import { expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { COMPLAINT, opened, startBrowser } from "../support/browser.ts";
import { OpenApiDocument } from "../support/openapi-document.ts";

/** A browser may have to be installed first, which takes 13 s or more; it starts in 2 s. */
const TIMEOUT_MS = 180_000;

/** Swagger UI puts zero-width spaces into long words. */
const plain = (text: string): string => text.replaceAll("\u200b", "");

test(
  "GET /swagger shows every operation, tries one out, and loads nothing from elsewhere",
  async () => {
    await using server = await TestServer.start();
    const fn = await server.createFunction(await fixture("static"), { name: "shown-in-the-browser" });
    await using browser = await startBrowser();
    const page = await browser.context.newPage();
    const asked: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (message) => {
      if (message.type() === "error" && message.text() !== COMPLAINT) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));

    await opened(page, `${server.url}/swagger`, () => page.waitForSelector(".opblock"));
    expect(await page.title()).toBe("Slipway API");
    const texts = async (selector: string) => (await page.locator(selector).allTextContents()).map(plain);
    const methods = await texts(".opblock-summary-method");
    const shown = (await texts(".opblock-summary-path")).map((path, i) => `${methods[i]} ${path}`);
    const operations = (await OpenApiDocument.of(server.url)).operations();
    expect(shown.toSorted()).toEqual(operations.map(({ method, path }) => `${method} ${path}`).toSorted());

    const operation = page.locator("#operations-functions-listFunctions");
    await operation.locator(".opblock-summary-control").click();
    await operation.locator("button.try-out__btn").click();
    await operation.locator("button.execute").click();
    const live = operation.locator(".live-responses-table .response");
    await live.waitFor();
    expect(await live.locator(".response-col_status").textContent()).toContain("200");
    expect(await live.locator(".highlight-code").first().textContent()).toContain(`"id": "${fn.id}"`);
    const screenshot = process.env["SLIPWAY_SCREENSHOT"];
    if (screenshot !== undefined) await page.screenshot({ path: screenshot, fullPage: true });

    expect(asked.length).toBeGreaterThan(4);
    const inline = (url: string) => url.startsWith("data:");
    expect(asked.filter((url) => !inline(url) && new URL(url).origin !== server.url)).toEqual([]);
    expect(complaints).toEqual([]);
  },
  TIMEOUT_MS,
);
