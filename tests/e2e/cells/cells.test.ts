import { beforeAll, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { environmentOf, isWarm, pool, seenBy, startOf, warmServer } from "../pool/pools.ts";

let image: string;

beforeAll(async () => {
  image = await fixture("chaos");
});

test("a call in a cell finds nothing of the one before, in the same container", async () => {
  await using server = await warmServer();
  const fn = await server.createFunction(image, { isolation: "cell", warm_max: 1 });
  await pool(server, fn, isWarm);
  const first = await server.invoke(fn, { do: "env" });
  expect(startOf(first)).toBe("warm");
  const { HOSTNAME } = (await seenBy(first)).environment;
  for (const path of ["/tmp/left", "/tmp/context/left", "/dev/shm/left", "/dev/left", "/left", "/etc/hosts"]) {
    expect(await (await server.invoke(fn, { do: "write", path, bytes: 10 })).json()).toMatchObject({ written: 10 });
  }
  expect((await server.invoke(fn, { do: "grandchild" })).status).toBe(200);
  const after = await seenBy(await server.invoke(fn, { do: "env" }));
  expect(after.context.toSorted()).toEqual(["request.body", "request.json", "request.meta.json", "response.json"]);
  expect(after.root).not.toContain("left");
  expect(after.environment["HOSTNAME"]).toBe(HOSTNAME);
});

test("a function in a cell that fails, is killed or runs past its deadline is reported as in a container", async () => {
  await using server = await warmServer();
  const fn = await server.createFunction(image, { isolation: "cell", timeout_ms: 1_000, warm_max: 1 });
  await pool(server, fn, isWarm);
  expect((await server.invoke(fn, { do: "exit", code: 3 })).status).toBe(502);
  expect((await server.invoke(fn, { do: "signal" })).status).toBe(502);
  expect((await server.invoke(fn, { do: "sleep" })).status).toBe(504);
  expect((await environmentOf(await server.invoke(fn, { do: "env" })))["HOSTNAME"]).toBeString();
});
