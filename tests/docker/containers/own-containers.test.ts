import { describe, expect, test } from "bun:test";
import { OwnContainers } from "../../../lib/docker/containers/own-containers.ts";
import { createLogger } from "../../../lib/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

function ledger() {
  const clock = new FakeClock();
  const creation = Promise.withResolvers<string>();
  const removed: string[] = [];
  const own = new OwnContainers({
    containers: {
      create: () => creation.promise,
      remove: async (id) => void removed.push(id),
    },
    events: { problem: undefined, containerEnd: () => Promise.reject(new Error("not asked")), forget: () => undefined },
    clock,
    log: createLogger({ level: "error", format: "json", clock, write: () => undefined }),
  });
  return { own, clock, creation, removed };
}

describe("OwnContainers that are disposed of while the engine creates a container", () => {
  test("F6: wait for it and remove it, for nobody else would", async () => {
    const { own, clock, creation, removed } = ledger();
    const refused = rejectionOf(own.create("", {}));
    let ended = false;
    const end = own[Symbol.asyncDispose]().then(() => (ended = true));
    await clock.advance(1_000);
    expect([ended, removed]).toEqual([false, []]);
    creation.resolve("c1");
    expect(await refused).toMatchObject({ reason: "shutting_down" });
    await end;
    expect(removed).toEqual(["c1"]);
    expect(clock.pending).toBe(0);
  });

  test("F6: do not wait long for an engine that hangs, and remove what may yet come by its name", async () => {
    const { own, clock, creation, removed } = ledger();
    const refused = rejectionOf(own.create("", {}));
    const end = own[Symbol.asyncDispose]();
    await clock.advance(1_500);
    await end;
    creation.reject(new Error("the connection was closed"));
    expect(await refused).toMatchObject({ message: "the connection was closed" });
    expect(removed).toEqual([expect.stringMatching(/^slipway-/)]);
  });
});
