import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backup } from "../../../lib/store/sqlite/backup.ts";
import { databasePath } from "../../../lib/store/sqlite/store.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectSuccess } from "../support/replies.ts";

// No function is called here: only the test that registers one needs an engine.
const AWAY = { DOCKER_HOST: "unix:///nowhere/docker.sock" };

function scratch(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "slipway-secrets-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** The files of a directory that contain a text, as it is or in a usual encoding. */
function findIn(directory: string, text: string): string[] {
  const forms = (["utf8", "base64", "hex", "utf16le"] as const).map((encoding) =>
    encoding === "utf16le" ? Buffer.from(text, encoding) : Buffer.from(Buffer.from(text).toString(encoding)),
  );
  return readdirSync(directory).filter((name) => {
    const bytes = readFileSync(join(directory, name));
    return forms.some((form) => bytes.includes(form));
  });
}

test("a value appears in no file and no line of the log, however it is sent", async () => {
  using directory = scratch();
  await using server = await TestServer.start({ DATA_PATH: directory.path });
  const value = "hunter2-hunter2-hunter2";
  const wrong = [
    { value, name: "x" },
    { value: [value] },
    { value: { value } },
    [value],
    JSON.stringify(value),
    value,
    `{"value": ${value}}`,
    `{"value": "${value}`,
    `{'value': '${value}'}`,
    `{"value": "${value}"} ${value}`,
  ];
  for (const body of wrong) {
    const reply = await server.api("PUT", "/v1/secrets/token", body);
    expect(reply.status).toBe(400);
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  }
  expectSuccess(await server.api("PUT", "/v1/secrets/token", { value }), 201);
  expectSuccess(await server.api("PUT", "/v1/secrets/token", { value }), 200);
  const fn = await server.createFunction(await fixture("static"), {
    secrets: [{ name: "token", environment: "TOKEN" }],
  });
  for (const path of ["/v1/secrets", "/v1/secrets/token", "/v1/functions", `/v1/functions/${fn.id}`]) {
    expect(JSON.stringify((await server.api("GET", path)).body)).not.toContain("hunter2");
  }
  expect(readdirSync(directory.path)).toEqual(expect.arrayContaining(["database.db", "database.db-wal", "secret.key"]));
  expect(findIn(directory.path, "hunter2")).toEqual([]);
  backup(databasePath(directory.path), join(directory.path, "copy"));
  expect(findIn(directory.path, "hunter2")).toEqual([]);
  expect(server.log.length).toBeGreaterThan(wrong.length);
  expect(server.log.filter((line) => line.includes("hunter2"))).toEqual([]);
  // The name is not a secret, and shows that the search works.
  expect(findIn(directory.path, "token")).toContain("database.db-wal");
});

test("secrets survive a restart, with their key", async () => {
  using directory = scratch();
  const variables = { DATA_PATH: directory.path, ...AWAY };
  {
    await using server = await TestServer.start(variables);
    expectSuccess(await server.api("PUT", "/v1/secrets/token", { value: "x" }), 201);
  }
  {
    await using server = await TestServer.start(variables);
    expectSuccess(await server.api("GET", "/v1/secrets/token"));
  }
  const key = readFileSync(join(directory.path, "secret.key"), "utf8");
  rmSync(join(directory.path, "secret.key"));
  await using server = await TestServer.start({ ...variables, SECRET_KEY: key.trim() });
  expectSuccess(await server.api("GET", "/v1/secrets/token"));
  expect(readdirSync(directory.path)).not.toContain("secret.key");
});

test.each<[what: string, key: (file: string) => Record<string, string>, message: string]>([
  ["is gone", () => ({}), "is gone. Put that file back"],
  ["is another one", () => ({ SECRET_KEY: "ab".repeat(32) }), "The key given as SECRET_KEY is not the one that"],
  ["is in a file that is not there", (file) => ({ SECRET_KEY_FILE: `${file}.none` }), "Cannot read SECRET_KEY_FILE"],
  [
    "is in a file without one",
    (file) => {
      writeFileSync(`${file}.empty`, "hello");
      return { SECRET_KEY_FILE: `${file}.empty` };
    },
    "holds no key: put 32 random bytes in base64 or hex",
  ],
])(
  "a server does not start if the key of its secrets %s, and starts when the key is back",
  async (_, given, message) => {
    using directory = scratch();
    const file = join(directory.path, "secret.key");
    const variables = { DATA_PATH: directory.path, ...AWAY };
    {
      await using server = await TestServer.start(variables);
      expectSuccess(await server.api("PUT", "/v1/secrets/token", { value: "x" }), 201);
    }
    const key = readFileSync(file);
    rmSync(file);
    const failed = await TestServer.start({ ...variables, ...given(file) }).catch(String);
    expect(failed).toContain(message);
    expect(readdirSync(directory.path)).not.toContain("secret.key");
    writeFileSync(file, key, { mode: 0o600 });
    await using server = await TestServer.start(variables);
    expectSuccess(await server.api("GET", "/v1/secrets/token"));
  },
);

test("SECRET_KEY_FILE is read like SECRET_KEY", async () => {
  using directory = scratch();
  const file = join(directory.path, "given");
  writeFileSync(file, `${"ab".repeat(32)}\n`);
  const variables = { DATA_PATH: directory.path, ...AWAY };
  {
    await using server = await TestServer.start({ ...variables, SECRET_KEY_FILE: file });
    expectSuccess(await server.api("PUT", "/v1/secrets/token", { value: "x" }), 201);
  }
  await using server = await TestServer.start({ ...variables, SECRET_KEY: "AB".repeat(32) });
  expectSuccess(await server.api("GET", "/v1/secrets/token"));
});
