import { beforeAll, describe, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { eventually, slowdown } from "../../support/pace.ts";
import { containersBecome, containersOf, full, isWarm, type Named, pool, startOf, warmServer } from "./pools.ts";

let engine: Engine;
let image: string;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
});

async function networksOf(fn: Named): Promise<{ holders: string[]; joined: string[] }> {
  const ids = await containersOf(fn);
  // One at a time: some may be going meanwhile.
  const format = "{{.Id}} {{.HostConfig.NetworkMode}}";
  const shown = await Promise.all(ids.map((id) => engine.docker("inspect", "--format", format, id).catch(() => "")));
  const networks = shown.flatMap((line) => (line === "" ? [] : [line.trim().split(" ")]));
  return {
    holders: networks.flatMap(([id = "", mode]) => (mode === "bridge" ? [id] : [])),
    joined: networks.flatMap(([, mode = ""]) => (mode === "bridge" ? [] : [mode])),
  };
}

describe("share_network", () => {
  test("instances of a function share one holder, other functions have their own, and a lost holder is replaced", async () => {
    await using server = await warmServer();
    const [one, other] = [
      await server.createFunction(image, { share_network: true, warm_min: 2 }),
      await server.createFunction(image, { share_network: true, warm_min: 1 }),
    ];
    await full(server, one, 2);
    await full(server, other, 1);
    const [mine, others] = [await networksOf(one), await networksOf(other)];
    expect(mine.joined.length).toBe(2);
    expect(new Set(mine.joined)).toEqual(new Set(mine.holders.map((id) => `container:${id}`)));
    expect(new Set([...mine.joined, ...others.joined]).size).toBe(2);
    await engine.docker("kill", ...mine.holders);
    expect((await server.invoke(one, { do: "exit" })).status).toBe(200);
    // The server may hear of it only now, and what was in the lost network takes a moment to go.
    let renewed = mine;
    const isRenewed = async () => {
      await full(server, one, 2);
      renewed = await networksOf(one);
      return renewed.joined.length === 2 && !renewed.holders.some((id) => mine.holders.includes(id));
    };
    expect(await eventually(isRenewed, 20_000)).toBe(true);
    expect(renewed.holders).not.toEqual(mine.holders);
    expect(new Set(renewed.joined)).toEqual(new Set(renewed.holders.map((id) => `container:${id}`)));
  });

  test("switched off removes the holder with the last instance in its network", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { share_network: true, timeout_ms: 300_000 });
    await pool(server, fn, isWarm);
    const before = await networksOf(fn);
    expect(before.joined).toHaveLength(1);
    // Long enough for the next instance to start meanwhile.
    const call = server.invoke(fn, { do: "sleep", ms: 1_500 * (await slowdown()) });
    await pool(server, fn, ({ busy }) => busy === 1);
    expect((await server.api("PATCH", `/v1/functions/${fn.id}`, { share_network: false })).status).toBe(200);
    await pool(server, fn, isWarm);
    // The running call keeps its network.
    expect((await networksOf(fn)).holders).toEqual(expect.arrayContaining(before.holders));
    const response = await call;
    expect([response.status, startOf(response)]).toEqual([200, "warm"]);
    await containersBecome(1, fn);
    expect((await networksOf(fn)).joined).toEqual([]);
  });
});
