import { describe, expect, test } from "bun:test";
import { SAMPLES } from "../../../lib/cli/deploy/samples.ts";
import { TEMPLATE_NAMES, templateFor } from "../../../lib/cli/deploy/templates.ts";

/** Returns the template of a folder with these files. */
function of(files: Readonly<Record<string, string>>) {
  return templateFor({ names: Object.keys(files), read: async (name) => files[name] ?? "" });
}

const named = (...names: readonly string[]) => of(Object.fromEntries(names.map((name) => [name, "{}"])));

describe("templateFor", () => {
  test.each([
    [["index.js"], "script", "oven/bun:1", '["bun","index.js"]'],
    [["anything.ts", "README.md"], "script", "oven/bun:1", '["bun","anything.ts"]'],
    [["a.py", "main.py"], "script", "python:3-slim", '["python","-u","main.py"]'],
    [["hello.sh"], "script", "busybox:1", '["sh","hello.sh"]'],
    [["package.json", "index.js"], "node", "node:22-slim", '["node","index.js"]'],
    [["package.json", "bun.lock", "index.ts"], "bun", "oven/bun:1", '["bun","index.ts"]'],
    [["requirements.txt", "app.py"], "python", "python:3-slim", '["python","-u","app.py"]'],
    [["go.mod", "main.go"], "go", "golang:1", '["/function"]'],
    [["index.html", "app.js"], "static", "busybox:1", '["sh", "/serve.sh"]'],
  ] as const)("of %j is %s", async (names, name, image, command) => {
    const found = await named(...names);
    expect(found?.name).toBe(name);
    expect(found?.dockerfile).toStartWith(`FROM ${image}`);
    expect(found?.dockerfile).toEndWith(`CMD ${command}\n`);
    expect(found?.dockerfile).toContain("LABEL slipway.contract=stdio");
  });

  test.each([[[]], [["README.md"]], [["a.js", "b.js"]], [["a.rb"]], [[".js"]]])("finds none for %j", async (names) => {
    expect(await named(...names)).toBeUndefined();
  });

  test("runs a package's start script, or else its main file", async () => {
    const start = await of({ "package.json": '{"scripts": {"start": "node x.js"}, "main": "y.js"}' });
    expect(start?.dockerfile).toContain('CMD ["npm","--silent","start"]');
    const main = await of({ "package.json": '{"main": "y.js"}', "package-lock.json": "" });
    expect(main?.dockerfile).toContain('CMD ["node","y.js"]');
    expect(main?.dockerfile).toContain("RUN npm ci ");
    expect((await of({ "package.json": "not JSON" }))?.dockerfile).toContain('CMD ["node","index.js"]');
  });
});

test("a package of Bun is installed with its lock file if it has one", async () => {
  const of_bun = '{"packageManager": "bun@1.4.5"}';
  expect((await of({ "package.json": of_bun }))?.dockerfile).toContain(
    "COPY package.json ./\nRUN bun install --production\n",
  );
  expect((await of({ "package.json": "{}", "bun.lock": "" }))?.dockerfile).toContain(
    "COPY package.json bun.lock ./\nRUN bun install --production --frozen-lockfile\n",
  );
});

test.each(TEMPLATE_NAMES)("the sample of %s is recognised as such", async (name) => {
  expect((await of(SAMPLES[name]))?.name).toBe(name);
});
