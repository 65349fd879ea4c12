import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";

const AXE = Bun.file(new URL(import.meta.resolve("axe-core/axe.min.js")));

/** The parts of a result of axe that are looked at. */
interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly help: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** A page, and what must not happen on it: scripts of others, errors, dialogs, requests to elsewhere. */
export async function watched(context: BrowserContext, origin: string): Promise<{ page: Page; problems: string[] }> {
  // An earlier login has ended.
  await context.clearCookies();
  const page = await context.newPage();
  await page.setViewportSize({ width: 1280, height: 900 });
  const problems: string[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) problems.push(`asked ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    problems.push(`dialog ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => problems.push(`error ${error.message}`));
  page.on("console", (message) => {
    // A refused login, an unknown id, and the answer of a function that failed are such.
    const isStatus = message.text().startsWith("Failed to load resource: the server responded with a status of");
    if (message.type() === "error" && !isStatus) problems.push(`console ${message.text()}`);
  });
  return { page, problems };
}

/** Logs in on the page that asks for a key. */
export async function logIn(page: Page, key: string): Promise<void> {
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Presses a button and says yes to its question. */
export async function confirm(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name }).click();
  await page.getByRole("dialog").getByRole("button", { name }).click();
}

/** Loads axe into a page, for as long as it is not loaded anew. */
export async function loadAxe(page: Page): Promise<void> {
  await page.evaluate(await AXE.text());
}

/** The rows of a table have the same cells: the first ones stand for all. */
const LOOKED_AT = "{ include: document, exclude: [['tbody tr:nth-child(n + 9)']] }";

/** Goes to a path of the dashboard as a link does, without loading it anew, and waits for what it shows. */
export async function open(page: Page, path: string): Promise<void> {
  await page.evaluate(`history.pushState(null, "", ${JSON.stringify(`/ui${path}`)})`);
  await page.locator("main h1").waitFor();
  await page.locator(".loading").first().waitFor({ state: "detached" });
}

/**
 * Returns what is wrong with a page: for axe in both themes, of which the second one has other colours and nothing else, and what
 * does not fit a phone. SLIPWAY_SCREENSHOTS=FOLDER takes screenshots of all.
 */
export async function findings(page: Page, name: string): Promise<string[]> {
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${name} ${colorScheme}`);
    const rules = colorScheme === "light" ? "" : "runOnly: ['color-contrast'], ";
    const run = `axe.run(${LOOKED_AT}, { ${rules}resultTypes: ['violations'] }).then(({ violations }) => ({ violations }))`;
    const { violations } = await page.evaluate<AxeResult>(run);
    for (const { id, help, nodes } of violations) {
      const where = nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary ?? ""}`).join("\n");
      found.push(`${name} ${colorScheme}: ${id}, ${help}: ${where}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 900 });
    if (width === 390) await shoot(page, `${name} phone`);
    const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
    if (wide > width) found.push(`${name}: ${wide} pixels wide on a screen of ${width}`);
  }
  return found;
}

const SCREENSHOTS = process.env["SLIPWAY_SCREENSHOTS"];

/** True if somebody wants to look at the pages. */
export const HAS_SCREENSHOTS = SCREENSHOTS !== undefined;

async function shoot(page: Page, name: string): Promise<void> {
  const folder = SCREENSHOTS;
  if (folder === undefined) return;
  const file = `${name.replaceAll(/[^\w-]+/g, "_").slice(0, 80)}.png`;
  await page.screenshot({ path: join(folder, file), fullPage: true });
}
