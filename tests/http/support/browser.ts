import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page, type Request } from "playwright-core";
import { ensureProgram, findProgram } from "../../../.ci/packages.ts";
import { inRepository } from "../../../.ci/steps.ts";

/** Flags that keep the browser from contacting its maker's servers at every start. */
const QUIET = [
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The error of a request that Chromium gives up because the machine has another interface, as it has with each container of other tests. */
const GIVEN_UP = "net::ERR_NETWORK_CHANGED";
/** Its complaint about one. */
export const COMPLAINT = `Failed to load resource: ${GIVEN_UP}`;

/** Opens an address and waits until the page is ready, again for as long as Chromium has given up one of its requests meanwhile. */
export async function opened(page: Page, url: string, isReady: () => Promise<unknown>): Promise<void> {
  for (let isWhole = false; !isWhole;) {
    isWhole = true;
    const note = (request: Request) => {
      if (request.failure()?.errorText === GIVEN_UP) isWhole = false;
    };
    page.on("requestfailed", note);
    try {
      await page.goto(url);
      await isReady();
    } catch (error) {
      if (isWhole) throw error;
    }
    page.off("requestfailed", note);
  }
}

/**
 * Becomes Chromium without netlink sockets, by which it would hear of the machine's interfaces: when there is another one, as with a
 * container of other tests, it gives up requests that are being sent (net::ERR_NETWORK_CHANGED). Playwright talks to it by two descriptors.
 */
const undisturbed = (chromium: string) =>
  `#!/bin/sh\nexec ${process.execPath} ${inRepository("tests/gate/boot/without-netlink.ts")} --keep=3,4 ${chromium} "$@"\n`;

/** Starts a headless Chromium with an empty profile and further flags; installs Debian's if there is none. */
export async function startBrowser(
  ...flags: readonly string[]
): Promise<{ context: BrowserContext } & AsyncDisposable> {
  const found = ["google-chrome", "chromium-browser"].map(findProgram).find((path) => path !== null);
  const program = found ?? (await ensureProgram("chromium", ["chromium"]));
  const profile = await mkdtemp(join(tmpdir(), "slipway-browser-"));
  const executablePath = join(profile, "start");
  await Bun.write(executablePath, undisturbed(program));
  await chmod(executablePath, 0o755);
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    // Chromium refuses to run as root in its own sandbox.
    args: ["--no-sandbox", "--disable-gpu", ...QUIET, ...flags],
    viewport: { width: 1280, height: 1600 },
  });
  return {
    context,
    async [Symbol.asyncDispose]() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
