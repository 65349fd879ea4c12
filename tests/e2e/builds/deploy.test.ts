import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Build, BuildPage } from "../../../lib/domain/builds/builds.ts";
import { SAMPLES } from "../../../lib/cli/deploy/samples.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { nameStandIns } from "../../support/stand-ins.ts";
import { deployed } from "./support/deployments.ts";
import { type Files, inFolder, left, leftNow, removeBuilt, usesBuildKit } from "./support/sent-builds.ts";

let engine: Engine;
let server: TestServer;
let base: string;
/** The things that others have left. */
let before: readonly string[];
/** All of it ends, even if a part cannot. */
const held = new AsyncDisposableStack();

beforeAll(async () => {
  engine = await acquireEngine();
  before = await leftNow(engine.client);
  base = await baseImage(engine.client, "busybox");
  held.use(await nameStandIns(engine.client));
  held.defer(() => removeBuilt(engine));
  server = held.use(await TestServer.start());
});

afterAll(() => held.disposeAsync());

afterEach(async () => expect(await left(engine.client, before)).toEqual([]));

/** Deploys files in a folder of their own under a name. */
function deploy(name: string, files: Files, options: Parameters<typeof deployed>[2] = {}, to = server) {
  return inFolder(files, (directory) => deployed(to, directory, { name, ...options }));
}

const get = async (url: string) => (await fetch(url)).text();

describe("a folder without a Dockerfile", () => {
  test("with one script answers over HTTP", async () => {
    await using warm = await TestServer.start({ WARM_MAX: "1" });
    const { url, function: fn, route, build, read } = await deploy("hello", SAMPLES.script, {}, warm);
    const first = await fetch(url);
    expect(await first.json()).toEqual({ hello: "world" });
    const { start } = await warm.invocation(first.headers.get("x-request-id") ?? "");
    expect(start).toBe("warm");
    expect(await (await fetch(url, { method: "POST", body: "you" })).text()).toBe('{"hello":"you"}\n');
    expect([url, route.path, fn.name, fn.contract]).toEqual([`${warm.url}/r/hello`, "/hello", "hello", "stdio"]);
    expect(build?.image).toBe(fn.image);
    expect(read).toContain('No Dockerfile: building a script with the template "script"');
    expect(read).toMatch(/Step 1\/[35] : FROM (?:docker\.io\/)?oven\/bun:1/);
    expect(read).toContain('Created the function "hello"');
  });

  test("with a shell script, and with a package for Bun, too", async () => {
    const shell = await deploy("shell", { "hello.sh": 'echo "hello $(cat)"' });
    expect(await get(shell.url)).toBe("hello \n");
    const bun = await deploy("bun", SAMPLES.bun);
    expect(await get(bun.url)).toBe('{"hello":"world"}\n');
  });

  test("with pages serves them below its route", async () => {
    const files = { "index.html": "<h1>home</h1>", "sub/index.html": "sub", "a b.css": "p {}", ".env": "SECRET=1" };
    const { url } = await deploy("site", { ...files, ".dockerignore": "drafts", "drafts/x.html": "draft" });
    expect(url).toBe(`${server.url}/r/site/`);
    const home = await fetch(url);
    expect([home.headers.get("content-type"), await home.text()]).toEqual([
      "text/html; charset=utf-8",
      "<h1>home</h1>",
    ]);
    const style = await fetch(`${url}a%20b.css`);
    expect([style.headers.get("content-type"), await style.text()]).toEqual(["text/css; charset=utf-8", "p {}"]);
    const [bare, folder] = await Promise.all(
      ["/r/site", "/r/site/sub"].map((path) => fetch(server.url + path, { redirect: "manual" })),
    );
    expect([bare?.status, bare?.headers.get("location")]).toEqual([308, "/r/site/"]);
    expect([folder?.status, folder?.headers.get("location")]).toEqual([308, "/r/site/sub/"]);
    expect(await get(`${url}sub/`)).toBe("sub");
    const missing = ["none.html", ".env", ".slipway-static.sh", "drafts/x.html", "sub/none/"];
    const found = await Promise.all(missing.map(async (path) => [path, (await fetch(url + path)).status]));
    expect(found).toEqual(missing.map((path) => [path, 404]));
  });

  test("that no template knows is refused with what to do", async () => {
    expect(await deploy("x", { "notes.md": "x" }).catch(String)).toContain('begin with "slipway new NAME"');
  });
});

test("a function of another folder of the same name is replaced with a warning, unless the name was given", async () => {
  const files = { "one/app/run.sh": "echo one", "two/app/run.sh": "echo two" };
  await inFolder(files, async (directory) => {
    const first = await deployed(server, join(directory, "one/app"));
    expect(first.read).not.toContain("Warning");
    const second = await deployed(server, join(directory, "two/app"));
    expect(second.read).toContain('Warning: the function "app" was made of another folder of that name');
    expect(await get(second.url)).toBe("two\n");
    const given = await deployed(server, join(directory, "two/app"), { name: "app" });
    expect(given.read).not.toContain("Warning");
  });
}, 60_000);

describe("a folder with a Dockerfile", () => {
  const Dockerfile = (text: string) =>
    `FROM ${base}\nCOPY . /app\nLABEL slipway.contract=stdio\nCMD ["sh", "-c", "echo ${text} $GREETING; ls /app"]`;

  test("is built and updated under its name; the route stays", async () => {
    const files = { "one.txt": "1", "two.log": "2", ".dockerignore": "*.log\nDockerfile\n.dockerignore" };
    const first = await deploy(
      "made",
      { ...files, Dockerfile: Dockerfile("first") },
      { environment: { GREETING: "hi" } },
    );
    // BuildKit takes nothing out of an archive.
    const listed = (await usesBuildKit(engine.client)) ? "Dockerfile\none.txt" : "one.txt";
    expect(await get(first.url)).toBe(`first hi\n${listed}\n`);
    const again = await deploy("made", { ...files, Dockerfile: Dockerfile("first") });
    expect(again.function.version).toBe(1);
    expect(again.read).toContain('The function "made" is up to date (version 1)');
    const second = await deploy("made", { ...files, Dockerfile: Dockerfile("second") });
    expect([second.function.version, second.route.id, second.url]).toEqual([2, first.route.id, first.url]);
    expect(second.read).toContain('Updated the function "made" to version 2');
    expect(await get(second.url)).toBe(`second hi\n${listed}\n`);
    const other = await deploy("made", { ...files, Dockerfile: Dockerfile("second") }, { route: "other" });
    expect(await get(`${server.url}/r/other`)).toBe(await get(first.url));
    expect(await deploy("taken", { "x.sh": "echo" }, { route: "/other" }).catch(String)).toContain(
      'The path /other leads to the function "made" already: choose another with --route',
    );
    expect(other.url).toBe(`${server.url}/r/other`);
  });

  test("and the contract http has a route for all paths and methods", async () => {
    const listen = 'mkdir /www && echo page > /www/page.html && exec httpd -f -p "$PORT" -h /www';
    const Dockerfile = `FROM ${base}\nLABEL slipway.contract=http\nCMD ["sh", "-c", ${JSON.stringify(listen)}]`;
    const { url, route } = await deploy("web", { Dockerfile });
    expect([url, route.path]).toEqual([`${server.url}/r/web/`, "/web/*"]);
    expect(route.methods).toContain("DELETE");
    expect(await get(`${url}page.html`)).toBe("page\n");
    // A setting that was asked for is taken as it is.
    const { route: exact } = await deploy("web", { Dockerfile }, { route: "web-page" });
    expect(exact.path).toBe("/web-page");
  });

  test("whose build fails says which step, and touches no function", async () => {
    const failing = deploy("bad", { Dockerfile: `FROM ${base}\nRUN exit 7` });
    expect(await failing.catch(String)).toMatch(
      /The build failed in step 2 of 2 \(RUN exit 7\): .*\/bin\/sh -c exit 7.* (?:returned a non-zero code|exit code): 7/,
    );
    expect((await server.api("GET", "/v1/functions/bad")).status).toBe(404);
  });

  test("is no longer built if the person leaves", async () => {
    const leaving = new AbortController();
    const files = { Dockerfile: `FROM ${base}\nRUN echo ${crypto.randomUUID()}\nRUN sleep 600` };
    const going = deploy("left", files, { signal: leaving.signal }).catch((error: unknown) => error);
    const latest = async (): Promise<Build | undefined> =>
      (await server.api<BuildPage>("GET", "/v1/builds?name=left")).body.data.builds[0];
    try {
      expect(await eventually(async () => (await latest())?.step?.number === 3, 20_000)).toBe(true);
    } finally {
      leaving.abort();
    }
    expect(await going).toBeInstanceOf(Error);
    expect(await eventually(async () => (await latest())?.status === "cancelled", 20_000)).toBe(true);
  });
});

test("an image is deployed as it is", async () => {
  const image = await fixture("static");
  const { function: fn, build, url, read } = await deployed(server, image);
  expect(read).toStartWith(`No folder "${image}" here: deploying the image of that name\n`);
  expect([fn.image, fn.name, build]).toEqual([image, "static", null]);
  expect((await fetch(url, { method: "POST", body: '{"do":"exit"}' })).status).toBe(200);
  const away = { url: "http://127.0.0.1:1" };
  expect(await deployed(away, import.meta.dir).catch(String)).toContain('Start the server with "slipway serve"');
  expect(await deployed(server, "./nowhere").catch(String)).toContain('There is no folder "./nowhere"');
  expect(await deployed(server, join(import.meta.dir, "deploy.test.ts")).catch(String)).toContain(
    "is a file: name the folder",
  );
});
