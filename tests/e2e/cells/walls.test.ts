import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { PACE } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { CALL_MS, expectWalls, seenWith } from "./hostile.ts";
import { differences } from "./probe.ts";

/** The time for a test of two calls. */
const TEST_MS = 90_000 * PACE;

let image: string;
let server: TestServer;

beforeAll(async () => {
  image = await fixture("probe");
  server = await TestServer.start();
}, 60_000 * PACE);

afterAll(() => server[Symbol.asyncDispose]());

const SANDBOXES = ["default", "strict", "docker"] as const;
/** Root, or whom `strict` makes of it, and a user with groups. */
const USERS = [null, "bun"];

const COMBINATIONS = SANDBOXES.flatMap((sandbox) =>
  USERS.flatMap((user) =>
    (sandbox === "strict" ? [true] : [false, true]).map((read_only) => {
      const name = `in the sandbox ${sandbox}${read_only ? ", with a read-only root" : ""}, as ${user ?? "the image's user"}`;
      return [name, { sandbox, user, read_only, timeout_ms: CALL_MS }] as const;
    }),
  ),
);

describe("a hostile function", () => {
  test.each(COMBINATIONS)(
    "%s sees and may do in a cell what it does in a container",
    (_name, settings) => expectWalls(server, image, settings),
    TEST_MS,
  );

  test(
    "finds a container that is used again like a fresh one",
    async () => {
      const settings = { sandbox: "docker", timeout_ms: CALL_MS } as const;
      const [container, reused] = await Promise.all([
        seenWith(server, image, settings),
        seenWith(server, image, { ...settings, isolation: "process" }),
      ]);
      expect(differences(container, reused)).toEqual([]);
    },
    TEST_MS,
  );
});
