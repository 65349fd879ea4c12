import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture, imageWith, printedBy } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { forget, inside, inspected, mountAt } from "./inside.ts";

const MIB = 1024 * 1024;

let engine: Engine;
let image: string;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
  server = await TestServer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

/** Makes the image with one more line in its list of accounts. */
async function withAccount(line: string): Promise<string> {
  const container = `slipway-test-${crypto.randomUUID()}`;
  const script = 'echo "$0" >> /etc/passwd';
  await engine.docker("run", "--name", container, "--network", "none", "--entrypoint", "sh", image, "-c", script, line);
  const made = (
    await engine.docker("commit", "--change", 'ENTRYPOINT ["/usr/bin/chaos"]', "--change", "CMD []", container)
  ).trim();
  await engine.docker("rm", container);
  return made;
}

describe("sandbox", () => {
  test("`strict` has no capabilities, a read-only root, no network, a user other than root and a tmpfs for each volume", async () => {
    const own = await imageWith(engine, image, "VOLUME /data", "VOLUME /tmp/context");
    const fn = await server.createFunction(own, { sandbox: "strict", memory_bytes: 64 * MIB });
    const seen = await inside(server, fn);
    const { CapEff, CapBnd, CapPrm, NoNewPrivs, Seccomp } = seen.status;
    expect({ CapEff, CapBnd, CapPrm, NoNewPrivs, Seccomp }).toEqual({
      CapEff: "0000000000000000",
      CapBnd: "0000000000000000",
      CapPrm: "0000000000000000",
      NoNewPrivs: "1",
      Seccomp: "2",
    });
    expect(seen).toMatchObject({ uid: 65534, gid: 65534, interfaces: ["lo"] });
    expect(mountAt(seen, "/")).toMatch(/ ro,/);
    for (const path of ["/data", "/tmp"]) {
      expect(mountAt(seen, path)).toMatch(/^tmpfs .* rw,nosuid,nodev,relatime,size=16384k[, ]/);
      const write = { do: "write", path: `${path}/fill`, bytes: 17 * MIB };
      expect(await (await server.invoke(fn, write)).json()).toMatchObject({ errno: "ENOSPC" });
    }
    expect(await (await server.invoke(fn, { do: "write", path: "/left" })).json()).toMatchObject({ errno: "EROFS" });
    expect(await inspected(server, fn, "{{json .HostConfig.Privileged}} {{json .Mounts}}")).toMatch(
      /^false \[\{"Type":"volume","Name":"serverless_context",[^}]*"RW":false[^}]*\}\]$/,
    );
    await forget(server, fn, own);
  });

  test.each(["chaos", "static", "distroless", "nonroot", "shell", "bun", "own-gate", "volume-at-context"] as const)(
    "`strict` runs the image %s",
    async (name) => {
      const fn = await server.createFunction(await fixture(name), { sandbox: "strict" });
      const response = await server.invoke(fn, { hello: "world" });
      expect(await response.text()).toContain("world");
      expect(response.status).toBe(200);
    },
  );

  test("`strict` keeps the image's user, and accepts a given user and network", async () => {
    const fn = await server.createFunction(await fixture("distroless"), { sandbox: "strict", network: "bridge" });
    expect(await inside(server, fn)).toMatchObject({ uid: 65532, status: { CapEff: "0000000000000000" } });
    expect((await inside(server, fn)).interfaces.toSorted()).toEqual(["eth0", "lo"]);
    await server.api("PATCH", `/v1/functions/${fn.id}`, { user: "7" });
    expect(await inside(server, fn)).toMatchObject({ uid: 7 });
  });

  test.each([
    ["toor:x:0:0::/:", 502],
    ["toor:x:00:5::/:", 502],
    ["toor:x:nonsense:5::/:", 502],
    ["toor:x:5:5::/:\ntoor:x:0:0::/:", 502],
    ["toor:x:5:0::/:", 200],
  ])("`strict` recognizes root by other names: %j is a %i", async (line, status) => {
    const own = await imageWith(engine, await withAccount(line), "USER toor");
    const fn = await server.createFunction(own, { sandbox: "strict" });
    for (let i = 0; i < 2; i++) {
      const response = await server.invoke(fn, "{}");
      expect(response.status).toBe(status);
      if (status !== 502) continue;
      const message = `Cannot start a container of image "${own}": the sandbox "strict" has no root user, and its user "toor" is one: give another "user", or the sandbox "default"`;
      expect(await response.json()).toMatchObject({ reason: "entrypoint_failed", message });
    }
    await server.api("PATCH", `/v1/functions/${fn.id}`, { user: "5" });
    expect(await inside(server, fn)).toMatchObject({ uid: 5 });
    await forget(server, fn, own);
  });

  test("`docker` is the same as `docker run`", async () => {
    const fn = await server.createFunction(image, { sandbox: "docker" });
    const { status } = await inside(server, fn);
    const run = await printedBy(engine, "--entrypoint", "cat", image, "/proc/self/status");
    for (const name of ["CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"]) {
      expect([name, status[name]]).toEqual([name, new RegExp(`^${name}:\\s*(\\S+)$`, "m").exec(run)?.[1]]);
    }
    expect(BigInt(`0x${status["CapEff"]}`)).not.toBe(0n);
    expect(await inspected(server, fn, "{{.HostConfig.Privileged}} {{.HostConfig.Memory}}")).toBe(`false ${256 * MIB}`);
  });
});
