import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { EngineError } from "../../../lib/docker/api/connection.ts";
import type { NetworkDetails, NetworkSpec } from "../../../lib/docker/api/networks.ts";
import { isNetworkLost } from "../../../lib/docker/containers/launch-errors.ts";
import { IsolatedNetwork } from "../../../lib/docker/networks/isolated-network.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { createLogger } from "../../../lib/log.ts";

// EDGE C6

const OWNER = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
const NAME = `slipway-isolated-${OWNER}`;
const ICC = "com.docker.network.bridge.enable_icc";

/** An engine's networks by name. */
class Engine {
  readonly networks = new Map<string, NetworkDetails>();
  readonly specs: NetworkSpec[] = [];
  removed = 0;
  /** A network's options as the engine reports them. */
  options = (given: Readonly<Record<string, string>>) => given;
  /** Runs before a network is created. */
  before: () => void = () => undefined;
  readonly isolated = new IsolatedNetwork({
    owner: OWNER,
    log: createLogger({ level: "error", format: "json", clock: systemClock, write: () => undefined }),
    networks: {
      inspect: async (name) => this.networks.get(name),
      create: async (spec) => {
        this.specs.push(spec);
        this.before();
        if (this.networks.has(NAME)) throw new EngineError("network create", 409, "already exists");
        this.make(this.options(spec["Options"] as Record<string, string>)); // as IsolatedNetwork makes it
      },
      remove: async (id) => {
        for (const [name, network] of this.networks) {
          if (network.id !== id) continue;
          if (network.options["busy"]) throw new EngineError("network remove", 403, "it has active endpoints");
          this.networks.delete(name);
          this.removed++;
        }
      },
    },
  });

  make(options: Readonly<Record<string, string>>, owner = OWNER, driver = "bridge"): void {
    const id = `id-${this.specs.length}`;
    this.networks.set(NAME, { id, driver, options, labels: { "slipway.owner": owner } });
  }
}

test("many that need the network at once make one, with the label, without traffic between containers, and with the engine's MTU", async () => {
  const engine = new Engine();
  const options = { "com.docker.network.driver.mtu": "1450" };
  engine.networks.set("bridge", { id: "b", driver: "bridge", options, labels: {} });
  expect(await Promise.all([1, 2, 3].map(() => engine.isolated.id()))).toEqual(["id-1", "id-1", "id-1"]);
  expect(engine.specs).toEqual([
    {
      Name: NAME,
      CheckDuplicate: true,
      Driver: "bridge",
      EnableIPv6: false,
      Options: { [ICC]: "false", "com.docker.network.bridge.name": "slipway-0a1b2c3", ...options },
      Labels: { "slipway.owner": OWNER },
    },
  ]);
});

test("one that is left from before, or that somebody makes between look and creation, is used", async () => {
  const [left, raced] = [new Engine(), new Engine()];
  left.make({ [ICC]: "false" });
  expect(await left.isolated.id()).toBe("id-0");
  raced.before = () => raced.make({ [ICC]: "false" });
  expect(await raced.isolated.id()).toBe("id-1");
  expect([left.specs.length, raced.specs.length]).toEqual([0, 1]);
});

test.each<[string, () => Engine, string]>([
  [
    "of another server",
    () => made({ [ICC]: "false" }, "somebody"),
    `it is not this server's (its label slipway.owner is not "${OWNER}")`,
  ],
  ["of another driver", () => made({ [ICC]: "false" }, OWNER, "macvlan"), "it is no bridge"],
  [
    "that lets containers talk",
    () => made({ [ICC]: "true" }),
    `its containers reach each other (${ICC} is not "false")`,
  ],
  ["without the option", () => made({}), `its containers reach each other (${ICC} is not "false")`],
])("a network of its name %s is refused with the engine's words, and left alone", async (_, make, problem) => {
  const engine = make();
  const error: unknown = await engine.isolated.id().catch((thrown: unknown) => thrown);
  const [said, reason] = error instanceof AppError ? [error.message, error.reason] : [];
  expect([reason, said]).toEqual(["engine_unavailable", expect.stringContaining(`${problem}. Remove it with`)]);
  expect(said).toContain('The engine said: {"Driver":');
  expect([engine.specs.length, engine.removed, await engine.isolated.remove(), engine.removed]).toEqual([
    0,
    0,
    false,
    0,
  ]);
  engine.networks.clear();
  expect(await engine.isolated.id()).toBe("id-1");
});

function made(options: Readonly<Record<string, string>>, owner = OWNER, driver = "bridge"): Engine {
  const engine = new Engine();
  engine.make(options, owner, driver);
  return engine;
}

test("an engine that leaves the option out keeps no network, and the message says what to do", async () => {
  const engine = new Engine();
  engine.options = () => ({});
  const message = expect.stringContaining('it cannot keep functions apart; PATCH the function\'s "network"');
  expect(await engine.isolated.id().catch((thrown: unknown) => thrown)).toMatchObject({ message });
  expect([engine.removed, engine.networks.size]).toEqual([1, 0]);
});

test("many doubts about one network make one new one, and a doubt about an older one makes none", async () => {
  const engine = new Engine();
  const old = await engine.isolated.id();
  engine.networks.clear();
  await Promise.all([1, 2, 3].map(() => engine.isolated.doubt(old)));
  expect(await engine.isolated.id()).toBe("id-2");
  await engine.isolated.doubt(old);
  expect([await engine.isolated.id(), engine.specs.length]).toEqual(["id-2", 2]);
});

test("it is removed at the end, but not while a container is in it", async () => {
  const [free, busy] = [made({ [ICC]: "false" }), made({ [ICC]: "false", busy: "true" })];
  expect([await free.isolated.remove(), await busy.isolated.remove()]).toEqual([true, false]);
  expect([free.networks.size, busy.networks.size]).toEqual([0, 1]);
});

test.each([
  [404, "network 5bc0fed09e19 not found"],
  [404, "No such image: network-x"],
  [
    500,
    "failed to create endpoint x on network y: adding interface veth1 to bridge z failed: could not find bridge z: route ip+net: no such network interface",
  ],
  [403, "network slipway-isolated-1 is being removed"],
  [500, "failed to create endpoint x on network y: no available IPv4 addresses on this network's address pools"],
] as const)("a start that fails with %i %p", (status, message) => {
  const lost = !/image|no available/.test(message);
  expect(isNetworkLost(new EngineError("container start", status, message))).toBe(lost);
});
