import { expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { NetworkHolders } from "../../../lib/docker/containers/network-holders.ts";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, functionOf } from "../../runner/pool/fake-instances.ts";

const shared = functionOf("a", { share_network: true });

/** The part of a channel that a network needs. */
class FakeContainer {
  readonly #closed = Promise.withResolvers<void>();
  readonly id: string;
  open = true;

  constructor(id = "") {
    this.id = id;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  close(): void {
    this.open = false;
    this.#closed.resolve();
  }
}

/** Holders on an engine that always succeeds, or answers as the test chooses. */
class Networks {
  readonly started: FakeContainer[] = [];
  readonly lost: string[] = [];
  problem: Error | undefined;
  readonly holders = new NetworkHolders(
    {
      launchHolder: async () => {
        if (this.problem) throw this.problem;
        const holder = new FakeContainer(`h${this.started.length + 1}`);
        this.started.push(holder);
        return holder;
      },
    },
    (id) => this.lost.push(id),
  );

  /** Starts a container and returns which network it got. */
  async join(fn: Function): Promise<{ readonly container: FakeContainer; readonly network: string }> {
    let joined = "";
    const container = await this.holders.join(fn.id, fn, async (network) => {
      joined = network;
      return new FakeContainer();
    });
    return { container, network: joined };
  }

  get alive(): readonly string[] {
    return this.started.filter(({ open }) => open).map(({ id }) => id);
  }
}

test("NetworkHolders gives each group one holder for all of its containers", async () => {
  const networks = new Networks();
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect((await networks.join({ ...shared, id: "b" })).network).toBe("container:h2");
  expect(networks.alive).toEqual(["h1", "h2"]);
});

test("NetworkHolders keeps a holder until its group is released, with or without containers", async () => {
  const networks = new Networks();
  (await networks.join(shared)).container.close();
  await settled();
  expect((await networks.join(shared)).network).toBe("container:h1");
  expect(networks.alive).toEqual(["h1"]);
});

test("NetworkHolders ends a holder with the last container of its group", async () => {
  const networks = new Networks();
  const { container } = await networks.join(shared);
  const starting = Promise.withResolvers<FakeContainer>();
  const joining = networks.holders.join("a", shared, () => starting.promise);
  networks.holders.release("a");
  container.close();
  await settled();
  expect(networks.alive).toEqual(["h1"]);
  starting.resolve(new FakeContainer());
  (await joining).close();
  await settled();
  expect(networks.alive).toEqual([]);
  expect((await networks.join(shared)).network).toBe("container:h2");
  expect(networks.lost).toEqual([]);
});

test("NetworkHolders ends a holder without containers at once", async () => {
  const networks = new Networks();
  (await networks.join(shared)).container.close();
  await settled();
  networks.holders.release("a");
  await settled();
  expect(networks.alive).toEqual([]);
});

test("NetworkHolders reports a lost holder, and the next container gets a new one", async () => {
  const networks = new Networks();
  await networks.join(shared);
  networks.started[0]?.close();
  await settled();
  expect(networks.lost).toEqual(["a"]);
  expect((await networks.join(shared)).network).toBe("container:h2");
});

test("NetworkHolders throws the reason for a missing holder, and tries again for the next container", async () => {
  const networks = new Networks();
  networks.problem = new Error("no engine");
  expect(await failureOf(networks.join(shared))).toBe(networks.problem);
  networks.problem = undefined;
  const { container, network } = await networks.join(shared);
  expect(network).toBe("container:h1");
  const refused = new Error("refused");
  expect(await failureOf(networks.holders.join("a", shared, () => Promise.reject(refused)))).toBe(refused);
  networks.holders.release("a");
  container.close();
  await settled();
  expect(networks.alive).toEqual([]);
});
