import { beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { PACE } from "../../support/pace.ts";
import type { TestServer } from "../../support/server.ts";
import { isWarm, type Named, pool, warmServer } from "../pool/pools.ts";
import { type Difference, differences, normal, probe, type View } from "./probe.ts";

let image: string;

beforeAll(async () => {
  image = await fixture("probe");
}, 60_000 * PACE);

/** Waits until an instance is ready, and calls it. */
async function warmProbe(server: TestServer, fn: Named, command: string): Promise<View> {
  await pool(server, fn, isWarm);
  return probe(server, fn, command);
}

/** The container that a call ran in. */
function containerOf(view: View): string {
  return view.get("environment: HOSTNAME") ?? "";
}

/** The things that a call finds and the one before `command` did not. */
async function foundAfter(
  server: TestServer,
  fn: Named,
  command: string,
): Promise<{ readonly found: readonly Difference[]; readonly sameContainer: boolean; readonly left: number }> {
  const before = await warmProbe(server, fn, "look_for_left");
  const tried = await warmProbe(server, fn, command);
  const after = await warmProbe(server, fn, "look_for_left");
  return {
    found: differences(normal(before), normal(after)).filter(isMore),
    sameContainer: containerOf(before) === containerOf(after),
    left: [...tried.values()].filter((result) => result === "ok").length,
  };
}

/** Drops a number of sockets that has fallen: the newest engine still has one open while a container starts. */
function isMore({ name, before, after }: Difference): boolean {
  return name !== "sockets" || Number.parseInt(after) > Number.parseInt(before);
}

/** The files of another call that a call finds in a container that is used again: /tmp is emptied, also of the image's files. */
const WRITABLE_LAYER = [
  "a setuid program is",
  "content of /tmp/of-the-image",
  "file /etc/left",
  "file /image",
  "file /image/directory/inside",
  "file /image/left",
  "file /image/linked",
  "file /image/of-group",
  "file /image/of-root",
  "file /left",
  "file /root/left",
  "file /tmp/of-the-image",
  "file /usr/bin/left",
  "file /usr/bin/probe-setuid",
  "file /var/tmp/left",
  "file /work/place/left",
];

const nameOf = ({ name }: Difference) => name;

describe("a call that tries to leave something for the next", () => {
  test("leaves files of the writable layer in a container that is used again, and nothing else", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { isolation: "process", warm_max: 1, sandbox: "docker" });
    const { found, sameContainer } = await foundAfter(server, fn, "leave_in_writable_layer");
    expect(sameContainer).toBe(true);
    expect(found.map(nameOf).toSorted()).toEqual(WRITABLE_LAYER);
  });

  test("leaves nothing by other means: what cannot be cleared away ends the container", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { isolation: "process", warm_max: 1, sandbox: "docker" });
    const { found, sameContainer, left } = await foundAfter(server, fn, "leave");
    expect(left).toBeGreaterThan(100);
    expect(sameContainer).toBe(false);
    expect(found).toEqual([]);
  });

  test("leaves nothing in a cell: the next call in the same container finds what the first one found", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { isolation: "cell", warm_max: 1, sandbox: "docker" });
    for (const command of ["leave", "leave_in_writable_layer"]) {
      const { found, sameContainer, left } = await foundAfter(server, fn, command);
      expect(left).toBeGreaterThan(command === "leave" ? 100 : 10);
      expect(found).toEqual([]);
      expect(sameContainer).toBe(true);
    }
  });

  test("leaves a port in TIME_WAIT, whose network namespace is the container's", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { isolation: "cell", warm_max: 1 });
    const { found, sameContainer } = await foundAfter(server, fn, "leave_connection");
    expect(sameContainer).toBe(true);
    expect(found).toEqual([{ name: "listen on port 7778", before: "ok", after: "EADDRINUSE" }]);
  });

  test.each(["cell", "process"] as const)(
    "by a signal to its group and to all processes reaches nobody else: %s",
    async (isolation) => {
      await using server = await warmServer();
      const fn = await server.createFunction(image, { isolation, warm_max: 1 });
      const before = await warmProbe(server, fn, "look");
      expect((await server.invoke(fn, { do: "kill_all" })).status).toBe(502);
      expect(containerOf(await warmProbe(server, fn, "look"))).toBe(containerOf(before));
    },
  );
});
