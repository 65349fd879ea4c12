import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";
import { ensureProgram, findProgram } from "../../../.ci/packages.ts";

/** Flags that keep the browser from contacting its maker's servers at every start. */
const QUIET = [
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a headless Chromium with an empty profile and further flags; installs Debian's if there is none. */
export async function startBrowser(
  ...flags: readonly string[]
): Promise<{ context: BrowserContext } & AsyncDisposable> {
  const found = ["google-chrome", "chromium-browser"].map(findProgram).find((path) => path !== null);
  const executablePath = found ?? (await ensureProgram("chromium", ["chromium"]));
  const profile = await mkdtemp(join(tmpdir(), "slipway-browser-"));
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
