import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { NEWEST_TESTS } from "../.ci/engine/newest-tests.ts";

const ROOT = join(import.meta.dir, "..");

/** The imports and calls that a test has only if it touches images, pulls, containers or their settings. */
const TOUCHES = [
  /from "[./]*\/support\/registry\.ts"/,
  /\bimageWith\b/,
  /from "[./]*\/lib\/docker\/docker-platform\.ts"/,
  /\bdocker\("(?:pull|tag|rmi|network|volume)"/,
];

/**
 * Tests that use one of these by the way: a tag of a base image, an image that exposes a port or has labels, a volume that is to be
 * missing or gone, an image of the server with its compilers. And those of hostile images and of settings, which are about our side and
 * take long: what an engine makes of settings is in tests/docker, and `bun run test --newest FILE` runs the others by hand.
 */
const OTHER_USES: ReadonlySet<string> = new Set([
  "tests/docs/pages.test.ts",
  "tests/e2e/builds/deploy.test.ts",
  "tests/e2e/calls/hostile-images.test.ts",
  "tests/e2e/calls/sandbox.test.ts",
  "tests/e2e/contracts/stdio.test.ts",
  "tests/e2e/faults/callers.test.ts",
  "tests/e2e/http/boots.test.ts",
  "tests/e2e/faults/engine-requests.test.ts",
  "tests/e2e/functions/foreign-files.test.ts",
  "tests/e2e/functions/manifest.test.ts",
  "tests/e2e/functions/settings.test.ts",
  "tests/e2e/lambda/runtime-clients.test.ts",
  "tests/e2e/packaging/container.test.ts",
  "tests/http/api/function-settings.test.ts",
  "tests/http/api/versions.test.ts",
  "tests/http/openfaas/faas-cli.test.ts",
]);

describe("NEWEST_TESTS", () => {
  test("names folders and files that exist, each once", () => {
    expect(NEWEST_TESTS.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(
      NEWEST_TESTS.filter((path, index) => NEWEST_TESTS.some((other, at) => at !== index && path.startsWith(other))),
    ).toEqual([]);
  });

  test("names all tests that touch images, pulls, containers and their settings", async () => {
    const missing: string[] = [];
    for await (const file of new Bun.Glob("tests/**/*.test.ts").scan({ cwd: ROOT })) {
      const text = await Bun.file(join(ROOT, file)).text();
      const touches = TOUCHES.some((pattern) => pattern.test(text));
      const named = NEWEST_TESTS.some((path) => file === path || file.startsWith(`${path}/`));
      if (touches && !named && !OTHER_USES.has(file)) missing.push(file);
    }
    expect(missing.toSorted()).toEqual([]);
  });
});
