import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../.ci/engine/engine.ts";
import { hasImage } from "../../.ci/engine/image-tree.ts";
import { buildSample } from "../../.ci/engine/samples.ts";
import { ensureProgram } from "../../.ci/packages.ts";
import { nameStandIns } from "../support/stand-ins.ts";
import { blocksOf, pagePaths, readPage } from "./support/markdown-blocks.ts";
import { NOT_RUN, PageRun } from "./support/page-run.ts";

/** A page has up to twenty commands, each of which may start a container on a busy machine. */
const PAGE_TIMEOUT_MS = 240_000;

/** A volume that pages have the engine make. */
const VOLUME = "slipway-example-cache";

/** Images that pages build and name. */
const MADE = ["count", "shout", "slipway/hello-world:1.4"] as const;

const pages = await pagePaths();

let engine: Engine;
/** All of it ends, even if a part cannot. */
const held = new AsyncDisposableStack();

beforeAll(async () => {
  engine = await acquireEngine();
  await ensureProgram("curl", ["curl"]);
  // A run that was killed may have left it, with a count in it.
  await engine.docker("volume", "rm", "--force", VOLUME);
  for (const name of ["hello-world", "hello-sh", "http-sh", "checksum-stdio", "http-server", "lambda-sh"] as const)
    await buildSample(engine.client, name, true);
  held.use(await nameStandIns(engine.client));
  held.defer(removeMade);
}, PAGE_TIMEOUT_MS);

afterAll(() => held.disposeAsync());

async function removeMade(): Promise<void> {
  await engine.docker("volume", "rm", "--force", VOLUME);
  for (const reference of MADE) {
    if (await hasImage(engine.client, reference)) {
      await engine.client.request("DELETE", `/images/${reference}?noprune=1`);
    }
  }
}

describe("the commands of a page do what it shows:", () => {
  test.each(pages)(
    "%s",
    async (page) => {
      await PageRun.run(page);
    },
    PAGE_TIMEOUT_MS,
  );
});

test("every accepted reason for not running a block is used", async () => {
  const given = new Set<string>();
  for (const page of pages) {
    for (const { directive } of blocksOf(page, await readPage(page))) {
      if (directive?.name === "not run") given.add(directive.value);
    }
  }
  expect([...given].toSorted()).toEqual([...NOT_RUN].toSorted());
});

test("a block that is not checked has neither commands nor JSON", async () => {
  for (const page of pages) {
    const unchecked = blocksOf(page, await readPage(page)).filter(
      ({ language, directive }) => language === "text" && directive === undefined,
    );
    const wrong = unchecked.filter(({ text }) => /^\s*(\$ |curl |slipway |[{[]?"\w+"|\{)/m.test(text));
    expect(wrong.map(({ place }) => place)).toEqual([]);
  }
});
