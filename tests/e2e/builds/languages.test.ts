import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { SAMPLES } from "../../../lib/cli/deploy/samples.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { Person } from "../../cli/support/slipway.ts";
import { expectWithin } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { nameStandIns } from "../../support/stand-ins.ts";
import { type Files, left, leftNow, removeBuilt } from "./support/sent-builds.ts";

/** With `GOLANG=full` also Go, whose image has 100 MB and whose library is compiled; see contributing.md. */
const WITH_GO = process.env["GOLANG"] === "full";

/** The longest time from the command to the answer on a quiet machine, in milliseconds; Go compiles its whole library. */
const LIMIT_MS = WITH_GO ? 60_000 : 15_000;

let engine: Engine;
let server: TestServer;
let person: Person;
let before: readonly string[];
const held = new AsyncDisposableStack();

beforeAll(
  async () => {
    engine = await acquireEngine();
    before = await leftNow(engine.client);
    held.use(
      await nameStandIns(engine.client, ["busybox", "bun", "python", ...(WITH_GO ? (["golang"] as const) : [])]),
    );
    held.defer(() => removeBuilt(engine));
    server = held.use(await TestServer.start());
    person = held.use(await Person.arrive({ SLIPWAY_URL: server.url }));
  },
  WITH_GO ? 600_000 : 120_000,
);

afterAll(() => held.disposeAsync());

afterEach(async () => expect(await left(engine.client, before)).toEqual([]));

const PYTHON = { "main.py": SAMPLES.python["main.py"] ?? "" };

const FOLDERS: readonly (readonly [name: string, files: Files, answer: string])[] = [
  ["javascript", SAMPLES.script, '{"hello":"world"}\n'],
  ["python", PYTHON, '{"hello": "world"}\n'],
  ["requirements", SAMPLES.python, '{"hello": "world"}\n'],
  ["shell", { "hello.sh": 'echo "hello $(cat)world"\n' }, "hello world\n"],
  ["site", SAMPLES.static, SAMPLES.static["index.html"] ?? ""],
  ...(WITH_GO ? [["go", SAMPLES.go, '{"hello":"world"}\n'] as const] : []),
];

test.each(FOLDERS)(
  "one command leads from a folder to an answer: %s",
  async (name, files, answer) => {
    await mkdir(join(person.home, name));
    for (const [path, text] of Object.entries(files)) await Bun.write(join(person.home, name, path), text);
    const began = performance.now();
    const typed = await person.types(["deploy", name]);
    const url = `${server.url}/r/${name}${name === "site" ? "/" : ""}`;
    expect(typed).toMatchObject({ code: 0, stdout: `${url}\n` });
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([200, answer]);
    const took = performance.now() - began;
    if (WITH_GO) console.log(`${name}: ${Math.round(took)} ms`);
    await expectWithin(took, LIMIT_MS);
  },
  WITH_GO ? 240_000 : 120_000,
);
