import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture, imageWith, printedBy } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome } from "../pool/pools.ts";
import { inside } from "./inside.ts";

let engine: Engine;
let image: string;
let server: TestServer;
const made: string[] = [];

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
  server = await TestServer.start();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await containersBecome(0);
  for (const one of made.toReversed()) await engine.docker("rmi", "--no-prune", one);
});

/** Makes an image by running a script in another, and then with more lines of a Dockerfile. */
async function imageOf(script: string, ...changes: readonly string[]): Promise<string> {
  const container = `slipway-test-${crypto.randomUUID()}`;
  await engine.docker("run", "--name", container, "--network", "none", "--entrypoint", "sh", image, "-c", script);
  const keep = ['ENTRYPOINT ["/usr/bin/chaos"]', "CMD []", ...changes].flatMap((change) => ["--change", change]);
  const id = (await engine.docker("commit", ...keep, container)).trim();
  await engine.docker("rm", container);
  made.push(id);
  return id;
}

// EDGE C1
describe("an image with a VOLUME where Slipway's files are", () => {
  test.each(["/.slipway/", ".slipway//x/../y"])("at %j is refused", async (volume) => {
    const own = await imageWith(engine, image, `VOLUME ${volume}`);
    made.push(own);
    const { status, body } = await server.api("POST", "/v1/functions", { image: own });
    expect([status, body.reason]).toEqual([400, "image_invalid"]);
    expect(body.message).toStartWith(
      `Image "${own}" cannot be run: its VOLUME ${JSON.stringify(volume)} lies at, above or below`,
    );
  });

  test("is refused at its calls if it was registered by an older server", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
    try {
      const own = await imageWith(engine, image, "VOLUME /.slipway/x");
      made.push(own);
      let id = "";
      {
        await using before = await TestServer.start({ DATA_PATH: directory });
        id = (await before.createFunction(image)).id;
      }
      const database = new Database(join(directory, "database.db"));
      database.run("update functions set image_id = ? where id = ?", [own, id]);
      database.close();
      await using after = await TestServer.start({ DATA_PATH: directory });
      const response = await after.invoke({ id }, "{}");
      expect(response.status).toBe(502);
      expect(await response.json()).toMatchObject({
        reason: "entrypoint_failed",
        message: expect.stringContaining("its VOLUME"),
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test.each<[string, string, string]>([
    ["a volume at a link to it", "ln -s /.slipway /data", "VOLUME /data"],
    ["a volume where it is a link to", "mkdir /elsewhere && ln -s /elsewhere /.slipway", "VOLUME /elsewhere"],
    ["a file in its place", "echo > /.slipway", "VOLUME /data"],
  ])("harms itself alone with %s", async (_, script, volume) => {
    const hostile = await server.createFunction(await imageOf(script, volume));
    const other = await server.createFunction(image);
    const calls = await Promise.all([1, 2, 3, 4].map((n) => server.invoke(n % 2 === 1 ? hostile : other, "{}")));
    const [first, second, third, fourth] = calls.map(({ status }) => status);
    expect([second, fourth]).toEqual([200, 200]);
    // Some engines mount in an order that does no harm.
    for (const status of [first, third]) expect([200, 502]).toContain(status ?? 0);
    for (const response of calls)
      if (response.status === 502) expect(await response.json()).toMatchObject({ reason: "entrypoint_failed" });
    expect((await server.invoke(other, "{}")).status).toBe(200);
  });
});

// EDGE C2
describe("`strict` is never root", () => {
  const PASSWD = [
    "hex:x:0x10:5::/:",
    "float:x:1e3:5::/:",
    "wrap:x:4294967296:5::/:",
    "app:x:1000:1001::/home/app:",
    "77:x:0:0::/:",
  ].join("\n");
  const GROUP = ["staff:x:50:app", "more:x:51:app", "crafted:x:4294967296:"].join("\n");
  let crafted: string;

  beforeAll(async () => {
    crafted = await imageOf(`printf '${PASSWD}\n' >> /etc/passwd; printf '${GROUP}\n' >> /etc/group`);
  });

  test("whatever its image's lists say", async () => {
    const own = await imageWith(engine, crafted, "USER 4294967296");
    made.push(own);
    const users = ["hex", "float", "wrap", "app:crafted", "nobody-here"];
    const refused = [{ image: own }, ...users.map((user) => ({ image: crafted, user }))];
    await Promise.all(
      refused.map(async (settings) => {
        const fn = await server.createFunction(settings.image, { ...settings, sandbox: "strict" });
        const response = await server.invoke(fn, "{}");
        expect([settings, response.status]).toEqual([settings, 502]);
        expect(await response.json()).toMatchObject({ reason: "entrypoint_failed" });
      }),
    );
  });

  test("and is who its image says", async () => {
    const users = [
      ["app", { uid: 1000, gid: 1001 }, "50 51"],
      ["app:staff", { uid: 1000, gid: 50 }, ""],
      ["0077", { uid: 77, gid: 0 }, ""],
    ] as const;
    await Promise.all(
      users.map(async ([user, ids, groups]) => {
        const seen = await inside(server, await server.createFunction(crafted, { sandbox: "strict", user }));
        expect(seen).toMatchObject(ids);
        // Newer engines list the group itself, too.
        const listed = (seen.status["Groups"] ?? "")
          .trim()
          .split(" ")
          .filter((id) => id !== String(ids.gid));
        expect(listed.join(" ")).toBe(groups);
      }),
    );
  });

  test("with a list of accounts behind a link", async () => {
    const linked = await imageOf(
      "mkdir /lists && mv /etc/passwd /lists/passwd && ln -s ../lists/passwd /etc/passwd && echo toor:x:0:0::/: >> /lists/passwd && echo app:x:5:5::/: >> /lists/passwd",
    );
    const statuses = ["toor", "app"].map(async (user) => {
      const fn = await server.createFunction(linked, { sandbox: "strict", user });
      return (await server.invoke(fn, "{}")).status;
    });
    expect(await Promise.all(statuses)).toEqual([502, 200]);
  });
});

/** The output of a script in a function's container. */
async function printed(script: string, settings: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const fn = await server.createFunction(image, { ...settings, entrypoint: ["sh", "-c", `exec 2>&1; ${script}`] });
  const response = await server.invoke(fn, "{}");
  const id = response.headers.get("x-request-id") ?? "";
  const { body } = await server.api<{ entries: { text: string }[] }>("GET", `/v1/invocations/${id}/logs`);
  return body.data.entries
    .map(({ text }) => text)
    .join("")
    .trim();
}

// EDGE C7
test("functions make no core dumps, and may raise their open files as far as the engine goes", async () => {
  const hard = Math.min(65_536, Number(await printedBy(engine, "--entrypoint", "sh", image, "-c", "ulimit -Hn")));
  const limits = "ulimit -Sc; ulimit -Hc; ulimit -Sn; ulimit -Hn";
  const [strict, docker, raised, own] = await Promise.all([
    printed(limits, { sandbox: "strict" }),
    printed(limits, { sandbox: "docker" }),
    printed("ulimit -n 2000; ulimit -n"),
    printed("ulimit -Sn; ulimit -Hn", { nofile: 512 }),
  ]);
  expect([strict, docker]).toEqual([`0\n0\n1024\n${hard}`, `0\n0\n1024\n${hard}`]);
  expect([raised, own]).toEqual(["2000", "512\n512"]);
});

test("a `nofile` beyond the engine's own is a 502 that says so", async () => {
  const fn = await server.createFunction(image, { nofile: 1_048_576 });
  const response = await server.invoke(fn, "{}");
  // An engine that is root with all capabilities may give as many.
  if (response.status !== 200)
    expect(await response.json()).toMatchObject({
      reason: "entrypoint_failed",
      message: expect.stringContaining('"nofile" is 1048576, and the engine may not give that many: lower it'),
    });
});

// EDGE C8
test("what a function unpacks into its context can run, except in `strict`", async () => {
  const script = 'cd $CONTEXT_PATH; cp "$(readlink -f /bin/busybox)" echo; ./echo ran';
  const [usual, strict] = await Promise.all([
    printed(script, { read_only: true }),
    printed(script, { sandbox: "strict" }),
  ]);
  expect(usual).toBe("ran");
  expect(strict).toContain("Permission denied");
});
