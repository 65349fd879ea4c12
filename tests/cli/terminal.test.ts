import { afterAll, beforeAll, expect, test } from "bun:test";
import { ensureProgram } from "../../.ci/packages.ts";
import { fixture } from "../support/images.ts";
import { TestServer } from "../support/server.ts";
import { Person } from "./support/slipway.ts";

const ESCAPE = "\u001b";
/** Clears the screen, writes to the clipboard, and turns the rest of the line around. */
const HOSTILE = `${ESCAPE}[2J${ESCAPE}]52;c;cm0gLXJmCg==\u0007\u009b31m\u202egnp.exe`;

let server: TestServer;
let person: Person;

beforeAll(async () => {
  await ensureProgram("script", ["bsdutils"]);
  server = await TestServer.start();
  person = await Person.arrive({ SLIPWAY_URL: server.url });
  // The body of the request is the script.
  const entrypoint = ["sh", "-c", 'cd "$CONTEXT_PATH" && sh ./request.json'];
  const settings = { name: "script", entrypoint, command: [], max_calls: 0, network: "none" };
  await server.createFunction(await fixture("shell"), settings);
});

afterAll(async () => {
  await person[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test("tables have colours on a terminal only, and none with NO_COLOR", async () => {
  expect((await person.typesAtTerminal(["ls"])).stdout).toContain(`${ESCAPE}[1mNAME`);
  expect((await person.typesAtTerminal(["ls"], { env: { NO_COLOR: "1" } })).stdout).not.toContain(ESCAPE);
  expect((await person.typesAtTerminal(["ls"], { env: { TERM: "dumb" } })).stdout).not.toContain(ESCAPE);
  // Variables that other programs take for a wish.
  expect((await person.types(["ls"], { env: { CI: "true", FORCE_COLOR: "1" } })).stdout).not.toContain(ESCAPE);
});

test("names, logs and answers cannot control the terminal, and programs get them as they are", async () => {
  const octal = [...Buffer.from(HOSTILE)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  const shown = await person.typesAtTerminal([
    "invoke",
    "script",
    `printf '${octal}' > response.body; echo {} > response.json`,
  ]);
  const answered = await person.types(["invoke", "script", `printf '${octal}\\n'; echo {} > response.json`]);
  expect([shown.code, answered.code]).toEqual([0, 0]);
  await server.api("POST", "/v1/keys", { name: "\u202e\u009b31mkey", scopes: ["read"] });
  const env = { NO_COLOR: "1" };
  const logs = await person.typesAtTerminal(["logs", "script", "-n", "1"], { env });
  expect(logs.stdout).toContain("\\u001b[2J\\u001b]52;c;cm0gLXJmCg==\\u0007\\u009b31m\\u202egnp.exe");
  const keys = await person.typesAtTerminal(["keys"], { env });
  expect(keys.stdout).toContain("\\u202e\\u009b31mkey");
  const unknown = await person.typesAtTerminal(["show", `${HOSTILE}x`], { env });
  for (const { stdout } of [shown, logs, keys, unknown]) expect(stdout).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  expect((await person.types(["logs", "script", "-n", "1"])).stdout).toContain(HOSTILE);
  expect((await person.types(["keys"])).stdout).not.toContain("\u009b");
});

test("login asks for the key, and does not show it", async () => {
  await using keyed = await TestServer.start({ AUTH: "on", API_KEY: "the-key" });
  const typed = await person.typesAtTerminal(["login", keyed.url], { input: "the-key\r" });
  expect(typed.code).toBe(0);
  expect(typed.stdout).toContain(`API key of ${keyed.url}: `);
  expect(typed.stdout).toContain("Logged in to ");
  const after = typed.stdout.slice(typed.stdout.indexOf("API key of"));
  expect(after).not.toContain("the-key");
});
