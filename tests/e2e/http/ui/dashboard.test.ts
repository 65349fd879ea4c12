import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { FunctionWithPool } from "../../../../lib/domain/functions/functions.ts";
import { startBrowser } from "../../../http/support/browser.ts";
import { type Pushed, type Registry, startRegistry } from "../../../support/registry/registry.ts";
import { fixture } from "../../../support/images.ts";
import { eventually } from "../../../support/pace.ts";
import { TestServer } from "../../../support/server.ts";
import { type RealisticData, writeRealisticData } from "./realistic-data.ts";
import { deployNewcomer, deployNewVersion } from "./deploying.ts";
import { seeItStop } from "./stopping.ts";
import { EMPTY } from "./empty-pages.ts";
import { confirm, findings, HAS_SCREENSHOTS, loadAxe, logIn, open, watched } from "./watched-page.ts";

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
let directory: string;
let data: RealisticData;
let registry: Registry;
let pushed: Pushed;

/** Asks the API as its administrator. */
async function api<T>(method: string, path: string, body?: unknown): Promise<T> {
  const reply = await server.api<T>(method, path, body, AUTHORIZED);
  if (!reply.body.success) throw new Error(`${method} ${path}: ${reply.status} ${reply.body.message}`);
  return reply.body.data;
}
const invocation = (id: string, wait = "") => api<Invocation>("GET", `/v1/invocations/${id}${wait}`);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-dashboard-"));
  data = await writeRealisticData(directory);
  const [image, started, ofImages] = await Promise.all([fixture("shell"), startBrowser(), startRegistry()]);
  browser = started;
  registry = ofImages;
  pushed = await registry.pushLayers("team/newcomer:1", "shell", [crypto.getRandomValues(new Uint8Array(65_536))]);
  server = await TestServer.start({ API_KEY: KEY, DATA_PATH: directory });
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
  await registry[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

test(
  "a whole day: log in, deploy, call, follow the logs, cancel, roll back, replay a dead letter, pause a schedule, log out",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui`);
    await logIn(page, "wrong");
    await page.getByRole("alert").getByText("The API key is wrong").waitFor();
    await logIn(page, KEY);
    await page.getByRole("heading", { name: "Overview" }).waitFor();

    const newcomer = () => api<FunctionWithPool>("GET", "/v1/functions/newcomer");
    await deployNewcomer(page, newcomer, { image: pushed.reference, program: PROGRAM, hostile: HOSTILE });

    // A call whose logs are there while it runs.
    await page.locator("#places").getByRole("link", { name: "Functions" }).click();
    await page.getByRole("searchbox").fill("NEWC");
    await page.getByRole("link", { name: "newcomer" }).click();
    await page.getByRole("link", { name: "Try it" }).click();
    await page.getByLabel("Body").fill("hang");
    await page.getByLabel("Asynchronous").check();
    await page.getByRole("button", { name: "Call" }).click();
    await page.getByText("Its record:").getByRole("link").click();
    await page.getByRole("log").getByText("begun").waitFor();
    await page.getByRole("region", { name: "Request" }).getByText("hang").waitFor();
    const running = page.url().split("/").at(-1) ?? "";
    expect((await invocation(running)).status).toBe("running");
    await confirm(page, "Cancel");
    await page.locator(".facts").getByText("cancelled").waitFor();
    expect((await invocation(running)).status).toBe("cancelled");

    await page.goto(`${server.url}/ui/functions/newcomer?tab=logs`);
    const log = page.getByRole("log");
    await log.getByText("cancelled", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    const shown = await log.locator(".entry").count();
    const calls = Array.from({ length: 6 }, () => server.invoke({ id: "newcomer" }, "{}", { headers: AUTHORIZED }));
    await Promise.all(calls);
    await page.getByText(/new lines/).waitFor();
    expect(await log.locator(".entry").count()).toBe(shown);
    await page.getByRole("button", { name: "Go on" }).click();
    // Each of them is here with its end, though a browser has fewer connections.
    await eventually(async () => (await log.locator(".entry.end").getByText("succeeded").count()) >= calls.length);

    await deployNewVersion(page, newcomer);
    // Another function is as it was before it broke, and what failed runs again.
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
    await page.getByRole("button", { name: "Run now" }).click();
    const queued = await page.getByText("Queued as invocation").textContent();
    expect((await invocation(queued?.match(/invocation (\S+)\./)?.[1] ?? "")).mode).toBe("async");

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
  "every page in both themes: axe finds nothing, nothing hostile runs, and nothing is wider than a phone",
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
      ...["registries", "keys", "audit", "system", "deploy", "nowhere"].map((name) => `/${name}`),
      ...[id, dead, data.parent, data.sync, "no-such-id"].map((one) => `/invocations/${one}`),
      ...["", "?tab=settings", "?tab=versions", "?tab=change", "?tab=try", "?tab=logs"].map(
        (tab) => `/functions/greeter${tab}`,
      ),
      `/functions/${encodeURIComponent(HOSTILE)}`,
    ];
    for (const path of paths) {
      await open(page, path);
      await page.evaluate("for (const one of document.querySelectorAll('.more')) one.open = true");
      found.push(...(await findings(page, path)));
    }
    expect(found).toEqual([]);
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a call's request and answer, attempts, callback and chain are on its page; what was not kept is said plainly",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui/invocations/${data.parent}`);
    await logIn(page, KEY);
    const part = (name: string) => page.getByRole("region", { name, exact: true });
    await part("Request").getByText('"order": 4711').waitFor();
    await part("Answer").getByText("{}").waitFor();
    await part("Attempts").getByRole("cell", { name: "succeeded" }).waitFor();
    await part("Callback").getByText("http://127.0.0.1:9/taken").waitFor();
    await part("Chain")
      .getByRole("link", { name: data.follower.slice(-12) })
      .click();
    await page.getByRole("heading", { name: data.follower.slice(-12) }).waitFor();
    await part("Chain")
      .getByRole("link", { name: data.parent.slice(-12) })
      .waitFor();
    await part("Chain").getByText("Nothing has followed yet").waitFor();
    await open(page, `/invocations/${data.sync}`);
    await part("Request").getByText("The request was not kept").waitFor();
    await part("Request").getByText("This call was synchronous").waitFor();
    await part("Answer").getByText("The answer was not kept").waitFor();
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "dead letters are replayed one, some and all; keys, secrets and registries are there by name, and the audit has who did what",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui/dead-letters`);
    await logIn(page, KEY);
    await page.getByRole("button", { name: "Replay all" }).waitFor();
    await confirm(page, "Replay all");
    await page.getByText(/queued again/).waitFor();
    await open(page, `/invocations/${dead}`);
    await page.getByRole("button", { name: "Replay", exact: true }).click();
    await page.waitForURL((url) => !url.pathname.endsWith(dead));
    for (const [path, text] of [
      ["/secrets", "database-password"],
      ["/registries", "registry.example.com"],
      ["/keys", HOSTILE.slice(0, 60)],
      ["/audit", `POST /v1/invocations/${dead}/replay`],
      ["/routes", "greeter"],
      ["/system", "0 without an owner"],
    ] as const) {
      await open(page, path);
      await page.getByRole("main").getByText(text).first().waitFor();
    }
    // A budget is a meter that a screen reader has in words.
    expect(await page.getByRole("meter").allTextContents()).toHaveLength(5);
    expect(await page.getByRole("meter", { name: "Instances", exact: true }).getAttribute("aria-valuetext")).toMatch(
      /^\d+ of \d+$/,
    );
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

describe("a server without anything, whose engine is away", () => {
  const AWAY = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };

  test(
    "says what to do; while it is away the page says so, and goes on by itself when it is back",
    async () => {
      const path = await mkdtemp(join(tmpdir(), "slipway-dashboard-"));
      await using gone = new AsyncDisposableStack();
      gone.defer(() => rm(path, { recursive: true, force: true }));
      const first = await TestServer.start({ ...AWAY, DATA_PATH: path });
      const stop = gone.adopt(first, (running) => running[Symbol.asyncDispose]());
      const { page, problems } = await watched(browser.context, first.url);
      await page.goto(`${first.url}/ui`);
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      await loadAxe(page);
      const found: string[] = [];
      for (const [place, title, remedy] of EMPTY) {
        await open(page, place);
        await page.getByRole("main").getByText(title, { exact: true }).waitFor();
        await page.getByRole("main").getByText(remedy).first().waitFor();
        // An empty place is the same on all pages.
        if (HAS_SCREENSHOTS || ["", "/functions"].includes(place))
          found.push(...(await findings(page, `empty ${place}`)));
      }
      expect(found).toEqual([]);
      // The overview looks at the server most often.
      await open(page, "");
      const notice = page.getByRole("alert");
      await notice.getByText("The engine has a problem").waitFor();
      await notice.getByText("Start it, or point DOCKER_HOST at it").waitFor();
      expect(problems).toEqual([]);
      await stop[Symbol.asyncDispose]();
      await notice.getByText("The server is away").waitFor();
      await notice.getByText("this page keeps trying").waitFor();
      const port = new URL(first.url).port;
      gone.use(await TestServer.start({ ...AWAY, DATA_PATH: path, PORT: port }));
      await notice.getByText("The server is away").waitFor({ state: "detached" });
    },
    TIMEOUT_MS,
  );
});

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
    await page.getByLabel("Headers, one a line").fill("no header");
    const call = page.getByRole("button", { name: "Call" });
    const answer = page.getByRole("status", { name: "Answer" });
    await call.press("Enter");
    await answer.getByText('This line is no header: "no header".').waitFor();
    await page.getByLabel("Headers, one a line").fill("Content-Type: text/plain\nX-Trial: 1");
    await call.press("Enter");
    await answer.getByText("200").waitFor();
    await answer.getByText("alert(4)").waitFor();
    // The parts of the call's time, and a header that the function has set.
    await answer.getByRole("img", { name: /^Time: queue .*, run .*; in all / }).waitFor();
    await answer.getByText("Headers").press("Enter");
    await answer.getByText("<img src=x onerror=alert(3)>").waitFor();
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "the keyboard alone: the login, the menu of a phone, and a dialog that is left again",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.setViewportSize({ width: 390, height: 800 });
    await page.goto(`${server.url}/ui`);
    await page.getByLabel("API key").waitFor();
    const focused = () => page.evaluate<string>("document.activeElement.textContent.trim()");
    /** Goes on to what has this text. */
    const tabTo = async (text: string) => {
      for (let presses = 0; (await focused()) !== text; presses++) {
        if (presses > 60) throw new Error(`The keyboard does not reach "${text}"`);
        await page.keyboard.press("Tab");
      }
    };
    await page.keyboard.type(KEY);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    expect(await page.getByRole("link", { name: "Keys" }).isVisible()).toBe(false);
    await tabTo("Menu");
    await page.keyboard.press("Enter");
    await tabTo("Keys");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Keys" }).waitFor();
    await page.getByRole("link", { name: "Keys" }).waitFor({ state: "hidden" });
    await tabTo("Revoke");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Revoke" }).waitFor();
    expect(await focused()).toBe("Keep as it is");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    expect(await focused()).toBe("Revoke");
    expect((await api<unknown[]>("GET", "/v1/keys")).length).toBeGreaterThan(0);
    expect(problems).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a server that stops while a call runs: pages say so, and what to do",
  async () => {
    const { page, problems } = await watched(browser.context, server.url);
    await page.goto(`${server.url}/ui/functions/greeter?tab=try`);
    await logIn(page, KEY);
    await page.getByLabel("Body").fill("hang");
    await page.getByRole("button", { name: "Call" }).click();
    const running = () => api<{ invocations: Invocation[] }>("GET", "/v1/invocations?status=running");
    expect(await eventually(async () => (await running()).invocations.length === 1)).toBe(true);
    await seeItStop(server, page, await browser.context.newPage());
    // Browsers write down what was refused.
    expect(problems.filter((problem) => !problem.endsWith("net::ERR_CONNECTION_REFUSED"))).toEqual([]);
  },
  TIMEOUT_MS,
);
