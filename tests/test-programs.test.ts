import { expect, test } from "bun:test";
import { join } from "node:path";
import { TEST_PROGRAMS } from "../.ci/engine/programs/test-programs.ts";

const ROOT = join(import.meta.dir, "..");

/** The benchmark is run by hand, and so are the tests on an emulated machine. */
const BY_HAND = /^tests\/bench\/|\/emulated-/;

/**
 * A browser may have another name. Go is for a campaign. `apt` is there. Debian 12 has the client in another package than later
 * releases. The last is no program.
 */
const NOT_AT_ONCE: ReadonlySet<string> = new Set([
  "chromium",
  "go",
  "apt-get",
  "docker: docker-cli",
  "bash-completion-is-no-program",
]);

test("TEST_PROGRAMS has all programs of Debian that tests ask for by name", async () => {
  const missing = new Set<string>();
  for await (const file of new Bun.Glob("{tests,.ci}/**/*.ts").scan({ cwd: ROOT, dot: true })) {
    if (BY_HAND.test(file)) continue;
    const text = await Bun.file(join(ROOT, file)).text();
    for (const [, program = "", packages = ""] of text.matchAll(/ensureProgram\("([^"]+)", \[([^\]]*)\]/g)) {
      const wanted = packages.split(", ").map((name) => name.slice(1, -1));
      const known = wanted.every((name) => TEST_PROGRAMS[program]?.includes(name));
      if (known || NOT_AT_ONCE.has(program) || NOT_AT_ONCE.has(`${program}: ${wanted.join()}`)) continue;
      missing.add(`${program}: ${wanted.join()}`);
    }
  }
  expect([...missing]).toEqual([]);
});
