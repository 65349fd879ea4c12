import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import { startBrowser } from "../../../http/support/browser.ts";
import { fixture } from "../../../support/images.ts";
import { eventually } from "../../../support/pace.ts";
import { TestServer } from "../../../support/server.ts";
import { findings, loadAxe, watched } from "./watched-page.ts";

/** A browser may have to be installed, and the image to be made. */
const TIMEOUT_MS = 300_000;
const KEY = "a-key-of-the-server-that-is-long-enough";
const AUTHORIZED = { Authorization: `Bearer ${KEY}` };
/** Runs if a page takes it for HTML, and is wider than any screen if it is not broken. */
const HOSTILE = `"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e${"wide".repeat(120)}`;

/** Prints, then does what its request says; the answer and its headers are hostile. */
const PROGRAM = `read -r body
printf 'begun %s\\n' "$HOSTILE" >&2
case "$body" in
  *hang*) sleep 600 ;;
  *fail*) [ "$MODE" = good ] || exit 3 ;;
esac
printf 'Content-Type: text/html\\r\\nX-Hostile: <img src=x onerror=alert(3)>\\r\\n\\r\\n<script>alert(4)</script>%s' "$HOSTILE"`;

let server: TestServer;
let browser: Awaited<ReturnType<typeof startBrowser>>;
let dead: string;

/** Asks the API as its administrator. */
async function api<T>(method: string, path: string, body?: unknown): Promise<T> {
  const reply = await server.api<T>(method, path, body, AUTHORIZED);
  if (!reply.body.success) throw new Error(`${method} ${path}: ${reply.status} ${reply.body.message}`);
  return reply.body.data;
}
const invocation = (id: string, wait = "") => api<Invocation>("GET", `/v1/invocations/${id}${wait}`);

beforeAll(async () => {
  const image = await fixture("shell");
  server = await TestServer.start({ API_KEY: KEY });
  browser = await startBrowser();
  const settings = {
    contract: "stdio",
    output: "cgi",
    entrypoint: ["sh", "-c"],
    command: [PROGRAM],
    network: "none",
    retry: { max_attempts: 1 },
  };
  const environment = { HOSTILE, MODE: "good" };
  await api("POST", "/v1/functions", { name: "greeter", image, environment, ...settings });
  await api("PATCH", "/v1/functions/greeter", { environment: { HOSTILE, MODE: "broken" } });
  const path = `/${HOSTILE.replaceAll(/[?#\\*%/]/g, "-")}`;
  await api("POST", "/v1/routes", { path, function_id: "greeter" });
  await api("POST", "/v1/schedules", { function_id: "greeter", cron: "0 0 1 1 *", body: { text: HOSTILE } });
  await api("PUT", "/v1/secrets/database-password", { value: HOSTILE });
  await api("PUT", "/v1/registries/registry.example.com?check=false", {
    username: HOSTILE.slice(0, 200),
    password: "x",
  });
  await api("POST", "/v1/keys", { name: HOSTILE.slice(0, 60), scopes: ["read"] });
  await server.api("GET", `/v1/functions/${encodeURIComponent(HOSTILE)}`, undefined, { "X-API-Key": "wrong" });
  const { id } = await api<Invocation>("POST", "/v1/functions/greeter/invoke?async=true", {
    do: "fail",
    text: HOSTILE,
  });
  dead = id;
  expect((await invocation(id, "?wait=60s")).status).toBe("dead");
}, TIMEOUT_MS);

afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test(
  "a whole day: log in, call, follow the logs, cancel, roll back, replay a dead letter, pause a schedule, log out",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui`);
    await logIn(page, "wrong");
    await page.getByRole("alert").getByText("The API key is wrong").waitFor();
    await logIn(page, KEY);
    await page.getByRole("heading", { name: "Overview" }).waitFor();

    // A call whose logs are there while it runs.
    await page.getByRole("link", { name: "Functions", exact: true }).click();
    await page.getByRole("searchbox").fill("GREET");
    await page.getByRole("link", { name: "greeter" }).click();
    await page.getByRole("link", { name: "Try it" }).click();
    await page.getByLabel("Body").fill("hang");
    await page.getByLabel("Asynchronous").check();
    await page.getByRole("button", { name: "Call" }).click();
    await page.getByText("Its record:").getByRole("link").click();
    await page.getByRole("log").getByText("begun").waitFor();
    const running = page.url().split("/").at(-1) ?? "";
    expect((await invocation(running)).status).toBe("running");
    await confirm(page, "Cancel");
    await page.locator(".facts").getByText("cancelled").waitFor();
    expect((await invocation(running)).status).toBe("cancelled");

    // The function is as it was before it broke, and what failed runs again.
    await page.goto(`${server.url}/ui/functions/greeter?tab=versions`);
    await page.locator(".changes").getByText("environment.MODE").waitFor();
    await confirm(page, "Roll back to 1");
    await page.getByText("The function is as it was at version 1; that is version 3 now.").waitFor();
    await page.getByRole("link", { name: "Dead letters" }).click();
    await page.getByRole("checkbox").check();
    await page.getByRole("button", { name: "Replay chosen (1)" }).click();
    await page.getByText("1 queued again.").waitFor();
    await eventually(async () => {
      const { invocations } = await api<{ invocations: Invocation[] }>("GET", "/v1/invocations?status=succeeded");
      return invocations.some(({ replay_of }) => replay_of === dead);
    });

    await page.getByRole("link", { name: "Schedules" }).click();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused: no runs take place.").waitFor();
    const [schedule] = await api<{ paused: boolean }[]>("GET", "/v1/schedules");
    expect(schedule?.paused).toBe(true);

    // The same login opens the manual and the API; after the logout nothing is open.
    const manual = () => page.request.get(`${server.url}/docs`, { headers: { Accept: "text/html" } });
    expect((await manual()).status()).toBe(200);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("API key").waitFor();
    expect((await manual()).status()).toBe(401);
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "every page: axe finds nothing, nothing hostile runs, and nothing is wider than a phone",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    const { id } = await api<Invocation>("POST", "/v1/functions/greeter/invoke?async=true", { text: HOSTILE });
    await invocation(id, "?wait=60s");
    await page.goto(`${server.url}/ui`);
    await page.getByLabel("API key").waitFor();
    await loadAxe(page);
    const found: string[] = [...(await findings(page, "login"))];
    await logIn(page, KEY);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    const paths = [
      "",
      ...["functions", "invocations", "dead-letters", "routes", "schedules", "secrets"].map((name) => `/${name}`),
      ...["registries", "keys", "audit", "system", "nowhere"].map((name) => `/${name}`),
      `/invocations/${id}`,
      `/invocations/${dead}`,
      "/invocations/no-such-id",
      ...["", "?tab=settings", "?tab=versions", "?tab=try", "?tab=logs"].map((tab) => `/functions/greeter${tab}`),
      `/functions/${encodeURIComponent(HOSTILE)}`,
    ];
    for (const path of paths) {
      // As a link does.
      await page.evaluate(`history.pushState(null, "", ${JSON.stringify(`/ui${path}`)})`);
      await page.locator("main h1").waitFor();
      await page.locator(".loading").first().waitFor({ state: "detached" });
      found.push(...(await findings(page, path, ["", "/keys", "/system", `/invocations/${dead}`].includes(path))));
    }
    expect(found).toEqual([]);
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a key sees what it may do, and nothing else; the keyboard reaches all of it",
  async () => {
    const { token } = await api<{ token: string }>("POST", "/v1/keys", { name: "caller", scopes: ["invoke"] });
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui/keys`);
    await page.getByLabel("API key").waitFor();
    await page.keyboard.type(token);
    await page.keyboard.press("Enter");
    await page.getByText("Your key may not see this page").waitFor();
    const places = page.getByRole("navigation", { name: "Pages" }).getByRole("link");
    expect(await places.allTextContents()).toEqual(["Overview"]);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("content");
    await places.first().focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Function (name or id)").fill("greeter");
    await page.getByLabel("Body").fill("");
    await page.keyboard.type("hello");
    await page.getByRole("button", { name: "Call" }).press("Enter");
    await page.getByRole("status", { name: "Answer" }).getByText("200").waitFor();
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

async function logIn(page: Page, key: string): Promise<void> {
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Presses a button and says yes to its question. */
async function confirm(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name }).click();
  await page.getByRole("dialog").getByRole("button", { name }).click();
}
