import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BuildPage } from "../../../lib/domain/builds/builds.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import { Person } from "../../cli/support/slipway.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { nameStandIns } from "../../support/stand-ins.ts";
import { left, leftNow, removeBuilt } from "./support/sent-builds.ts";

let engine: Engine;
let server: TestServer;
let person: Person;
let base: string;
let before: readonly string[];
const held = new AsyncDisposableStack();

beforeAll(async () => {
  await ensureProgram("script", ["bsdutils"]);
  engine = await acquireEngine();
  before = await leftNow(engine.client);
  base = await baseImage(engine.client, "busybox");
  held.use(await nameStandIns(engine.client));
  held.defer(() => removeBuilt(engine));
  server = held.use(await TestServer.start());
  person = held.use(await Person.arrive({ SLIPWAY_URL: server.url }));
});

afterAll(() => held.disposeAsync());

afterEach(async () => expect(await left(engine.client, before)).toEqual([]));

/** A `slipway dev` that runs, and all that it has printed. */
class Session implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #reading: Promise<unknown>;
  printed = "";

  constructor(child: Bun.Subprocess<"pipe", "pipe", "pipe">) {
    this.#child = child;
    this.#reading = Promise.all([this.#read(child.stdout), this.#read(child.stderr)]);
  }

  /** Waits until it has printed a text, after what it has printed before this. */
  async shows(text: string, after = 0): Promise<void> {
    const isShown = await eventually(() => this.printed.includes(text, after), 60_000);
    expect(isShown ? text : this.printed).toBe(text);
  }

  async types(text: string): Promise<void> {
    await this.#child.stdin.write(text);
    await this.#child.stdin.flush();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<number> {
    const code = await this.#child.exited;
    await this.#reading;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.ended();
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.printed += decoder.decode(chunk, { stream: true });
  }
}

/** Makes a folder of the person's with these files, and returns what writes into it. */
async function folder(name: string, files: Readonly<Record<string, string>>) {
  const directory = join(person.home, name);
  await mkdir(directory, { recursive: true });
  const write = (path: string, text: string) => Bun.write(join(directory, path), text);
  for (const [path, text] of Object.entries(files)) await write(path, text);
  return { write, remove: (path: string) => rm(join(directory, path)) };
}

const answer = async (path: string) => (await fetch(server.url + path)).text();
const answers = (path: string, text: string) => eventually(async () => (await answer(path)) === text, 60_000);

const functions = async () => (await server.api<Function[]>("GET", "/v1/functions")).body.data;
const routes = async () => (await server.api<Route[]>("GET", "/v1/routes")).body.data;

test("slipway dev at a terminal: the next call answers what was just written, until Ctrl-C", async () => {
  const { write, remove } = await folder("hello", {
    "hello.sh": "echo noticed >&2; echo one",
    ".dockerignore": "*.log\n",
  });
  await using dev = new Session(person.startsAtTerminal(["dev", "hello"]));
  await dev.shows(`${server.url}/r/hello-dev`);
  await dev.shows("Waiting for calls and changes. Ctrl-C ends");
  expect(await answer("/r/hello-dev")).toBe("one\n");
  await dev.shows("noticed");
  await dev.shows("  succeeded in ");
  // A change to a file that the context leaves out has no effect.
  await write("debug.log", "x");
  await write("hello.sh", "echo two");
  expect(await answers("/r/hello-dev", "two\n")).toBe(true);
  expect(dev.printed.match(/Changed: .*/g)?.map((line) => line.trim())).toEqual(["Changed: hello.sh"]);
  // A build that fails is shown, and the function stays as it was.
  await write("Dockerfile", `FROM ${base}\nRUN exit 7`);
  await dev.shows("The build failed in step 2 of 2 (RUN exit 7)");
  await dev.shows("Waiting for changes. Ctrl-C ends");
  expect(await answer("/r/hello-dev")).toBe("two\n");
  await remove("Dockerfile");
  await write("hello.sh", "echo three");
  expect(await answers("/r/hello-dev", "three\n")).toBe(true);
  expect((await functions()).map(({ name, labels }) => [name, labels])).toEqual([
    ["hello-dev", { "slipway-dev": expect.any(String), "slipway-folder": expect.any(String) }],
  ]);
  // Another folder of that name would share the function, and remove it.
  await folder("elsewhere/hello", { "hello.sh": "echo four" });
  expect(await person.types(["dev", "elsewhere/hello"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('The function "hello-dev" is that of another folder, or another machine'),
  });
  await dev.types("\u0003");
  expect(await dev.ended()).toBe(0);
  expect(dev.printed).toContain('Removed the function "hello-dev" and its routes');
  expect([await functions(), await routes()]).toEqual([[], []]);
});

test("slipway dev builds again after a change in the middle of a build", async () => {
  const Dockerfile = (text: string) =>
    `FROM ${base}\nRUN sleep 1\nCOPY . /app\nLABEL slipway.contract=stdio\nCMD ["sh", "-c", "echo ${text}"]`;
  const { write } = await folder("slow", { Dockerfile: Dockerfile("first") });
  await using dev = new Session(person.starts(["dev", "slow", "--name", "other", "--keep"]));
  await dev.shows("RUN sleep 1");
  await write("Dockerfile", Dockerfile("second"));
  expect(await answers("/r/other", "second\n")).toBe(true);
  expect(dev.printed).toContain("Changed: Dockerfile");
  dev.kill("SIGTERM");
  expect(await dev.ended()).toBe(0);
  expect((await functions()).map(({ name, version }) => [name, version])).toEqual([["other", 2]]);
  expect(await answer("/r/other")).toBe("second\n");
  // The next one takes over what was kept, and removes it.
  await using next = new Session(person.starts(["dev", "slow", "--name", "other"]));
  await next.shows("Waiting for calls and changes");
  next.kill("SIGINT");
  expect(await next.ended()).toBe(0);
  expect(await functions()).toEqual([]);
});

test("slipway dev that is left in the middle of a build cancels it, and leaves no function", async () => {
  await folder("left", { Dockerfile: `FROM ${base}\nRUN echo ${crypto.randomUUID()}\nRUN sleep 600` });
  await using dev = new Session(person.starts(["dev", "left"]));
  await dev.shows("RUN sleep 600");
  dev.kill("SIGHUP");
  expect(await dev.ended()).toBe(0);
  const { builds } = (await server.api<BuildPage>("GET", "/v1/builds?name=left-dev")).body.data;
  expect(builds[0]?.status).toBe("cancelled");
  expect(await functions()).toEqual([]);
});

test("slipway dev waits for the first file of an empty folder, and touches no function that it has not made", async () => {
  const { write } = await folder("empty", {});
  await using dev = new Session(person.starts(["dev", "empty"]));
  await dev.shows("There is no Dockerfile in ");
  await write("main.sh", "echo here");
  await dev.shows(`${server.url}/r/empty-dev`);
  expect(await answer("/r/empty-dev")).toBe("here\n");
  const { id } = (await functions())[0] ?? { id: "" };
  await server.api("PATCH", `/v1/functions/${id}`, { labels: {} });
  expect(await person.types(["dev", "empty"])).toEqual({
    code: 2,
    stdout: "",
    stderr:
      'slipway: The function "empty-dev" was not made by slipway dev, which would remove it at the end: choose another name with --name\n',
  });
  dev.kill("SIGINT");
  expect(await dev.ended()).toBe(0);
  expect(await functions()).toHaveLength(1);
  await server.api("DELETE", `/v1/functions/${id}?cascade=true`);
  expect(await person.types(["dev", "nowhere"])).toMatchObject({
    code: 2,
    stderr: 'slipway: There is no folder "nowhere"\n',
  });
});
