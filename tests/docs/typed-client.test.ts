import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { run, runOrThrow } from "../../.ci/packages.ts";
import { TestServer } from "../support/server.ts";
import { nameStandIns } from "../support/stand-ins.ts";
import { blocksOf, readPage, ROOT } from "./support/markdown-blocks.ts";

const PAGE = "lib/docs/functions.md";
const REASON = "tests/docs/typed-client.test.ts does";

/** As strict as a reader may be. */
const TSCONFIG = {
  compilerOptions: {
    target: "esnext",
    module: "preserve",
    lib: ["esnext"],
    types: ["bun"],
    noEmit: true,
    allowImportingTsExtensions: true,
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    // Of other packages. The generated types are checked: there is a copy that is no .d.ts.
    skipLibCheck: true,
  },
  files: ["session.ts", "checked.ts"],
};

/** Code that must not compile: each line below a comment has one error. */
const WRONG = `
// @ts-expect-error a function has no such field
console.log(created.data.data.nam);
// @ts-expect-error a limit is a number
await slipway.GET("/v1/invocations", { params: { query: { limit: "2" } } });
// @ts-expect-error reasons are a closed list
console.log(missing.error?.reason === "not_fuond");
// @ts-expect-error a function has an image
await slipway.POST("/v1/functions", { body: { name: "shout" } });
// @ts-expect-error what a function answers is unknown
console.log(called.data.MESSAGE);
`;

const held = new AsyncDisposableStack();
let server: TestServer;
let directory: string;
let session: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-typed-client-"));
  held.defer(() => rm(directory, { recursive: true }));
  held.use(await nameStandIns((await acquireEngine()).client));
  server = held.use(await TestServer.start());
  const blocks = blocksOf(PAGE, await readPage(PAGE)).filter(({ directive }) => directive?.value === REASON);
  const textOf = (language: string) => blocks.find((block) => block.language === language)?.text ?? "";
  session = textOf("ts").replaceAll("http://localhost:9999", server.url);
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  await Bun.write(join(directory, "tsconfig.json"), JSON.stringify(TSCONFIG));
  await generate(textOf("sh"));
});

afterAll(() => held.disposeAsync());

/** Runs the `npx` line of the page with this repository's packages. */
async function generate(script: string): Promise<void> {
  const [, line = ""] = /^npx openapi-typescript (.+)$/m.exec(script) ?? [];
  const preload = join(import.meta.dir, "support", "typescript-api.ts");
  const program = join(ROOT, "node_modules", "openapi-typescript", "bin", "cli.js");
  const args = line.replaceAll("http://localhost:9999", server.url).split(" ");
  await runOrThrow(["env", "-C", directory, process.execPath, "--preload", preload, program, ...args]);
  await Bun.write(join(directory, "checked.ts"), Bun.file(join(directory, "slipway.d.ts")));
}

/** Returns what the compiler says of a session; empty if all is well. */
async function typeErrors(text: string): Promise<string> {
  await Bun.write(join(directory, "session.ts"), text);
  const { stdout } = await run([join(ROOT, "node_modules", ".bin", "tsc"), "--project", directory]);
  return stdout;
}

test("the session of the manual compiles without a cast, and what is wrong does not", async () => {
  expect(session).not.toMatch(/\bas\b(?! well)|!\.|any\b|@ts-/);
  expect(await typeErrors(`${session}\n${WRONG}`)).toBe("");
  // The check can fail.
  expect(await typeErrors(`${session}\nconsole.log(created.data.data.nam);`)).toContain("'nam' does not exist");
});

test("the session registers, calls, follows and replays, and prints what the manual says", async () => {
  await Bun.write(join(directory, "session.ts"), session);
  const printed = await runOrThrow([process.execPath, join(directory, "session.ts")]);
  const shown = [...session.matchAll(/^console\.log\(.+\); \/\/ (.+)$/gm)].map(([, line]) => line);
  expect(shown).toHaveLength(6);
  expect(printed.trim().split("\n")).toEqual(shown.map((line) => line ?? ""));
});
