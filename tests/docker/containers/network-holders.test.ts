import { expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { NetworkHolders } from "../../../lib/docker/containers/network-holders.ts";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, FakeInstance, functionOf } from "../../runner/pool/fake-instances.ts";

const shared = functionOf("a", { share_network: true });

class FakeHolder extends FakeInstance {
  readonly containerId: string;

  constructor(fn: Function, containerId: string) {
    super(fn);
    this.containerId = containerId;
  }
}

/** Holders over an engine that always succeeds, or says what a test tells it to. */
class Networks {
  readonly started: FakeHolder[] = [];
  readonly lost: string[] = [];
  problem: Error | undefined;
  readonly holders = new NetworkHolders(
    {
      launch: async (fn) => {
        if (this.problem) throw this.problem;
        const holder = new FakeHolder(fn, `h${this.started.length + 1}`);
        this.started.push(holder);
        return holder;
      },
    },
    (id) => this.lost.push(id),
  );

  /** Starts an instance and tells which network it got. */
  async join(fn: Function): Promise<{ readonly instance: FakeInstance; readonly network: string }> {
    let joined = "";
    const instance = await this.holders.join(fn.id, fn, async (network) => {
      joined = network;
      return new FakeInstance(fn);
    });
    return { instance, network: joined };
  }

  get alive(): readonly string[] {
    return this.started.filter(({ state }) => state === "ready").map(({ containerId }) => containerId);
  }
}

test("NetworkHolders gives a function one holder for all of its instances, and another function another", async () => {
  const networks = new Networks();
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect((await networks.join({ ...shared, id: "b" })).network).toBe("container:h2");
  expect((await networks.join(functionOf("c"))).network).toBe("bridge");
  expect((await networks.join(functionOf("d", { network: "none" }))).network).toBe("none");
  expect(networks.alive).toEqual(["h1", "h2"]);
});

test("NetworkHolders keeps a holder while there is its pool, instances or none", async () => {
  const networks = new Networks();
  (await networks.join(shared)).instance.retire();
  await settled();
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect(networks.alive).toEqual(["h1"]);
});

test("NetworkHolders lets a holder go with the last instance of its pool", async () => {
  const networks = new Networks();
  const { instance } = await networks.join(shared);
  const starting = Promise.withResolvers<FakeInstance>();
  const joining = networks.holders.join("a", shared, () => starting.promise);
  networks.holders.release("a");
  instance.retire();
  await settled();
  expect(networks.alive).toEqual(["h1"]);
  starting.resolve(new FakeInstance(shared));
  (await joining).retire();
  await settled();
  expect(networks.alive).toEqual([]);
  expect((await networks.join(shared)).network).toBe("container:h2");
  expect(networks.lost).toEqual([]);
});

test("NetworkHolders lets a holder without instances go at once", async () => {
  const networks = new Networks();
  (await networks.join(shared)).instance.retire();
  await settled();
  networks.holders.release("a");
  await settled();
  expect(networks.alive).toEqual([]);
});

test("NetworkHolders tells of a holder that is lost, and the next instance gets a new one", async () => {
  const networks = new Networks();
  await networks.join(shared);
  networks.started[0]?.retire();
  await settled();
  expect(networks.lost).toEqual(["a"]);
  expect((await networks.join(shared)).network).toBe("container:h2");
});

test("NetworkHolders tells why there is no holder, and tries again for the next instance", async () => {
  const networks = new Networks();
  networks.problem = new Error("no engine");
  expect(await failureOf(networks.join(shared))).toBe(networks.problem);
  networks.problem = undefined;
  const { instance, network } = await networks.join(shared);
  expect(network).toBe("container:h1");
  const refused = new Error("refused");
  expect(await failureOf(networks.holders.join("a", shared, () => Promise.reject(refused)))).toBe(refused);
  networks.holders.release("a");
  instance.retire();
  await settled();
  expect(networks.alive).toEqual([]);
});
