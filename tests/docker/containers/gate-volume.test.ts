import { expect, test } from "bun:test";
import { GateVolume, type HelperImage } from "../../../lib/docker/containers/gate-volume.ts";
import type { Containers, ContainerSpec } from "../../../lib/docker/api/containers.ts";
import { EngineError } from "../../../lib/docker/api/connection.ts";
import type { OwnContainers } from "../../../lib/docker/containers/own-containers.ts";

const GATE = { name: "gate-1", bytes: new Uint8Array([1, 2, 3]) };

/** An engine with one volume. Helpers of an image in `hang` never come into being, those of one in `refuse` fail. */
class Engine {
  readonly hang = new Set<string>();
  readonly refuse = new Set<string>();
  /** The images of the helpers, in order. */
  readonly helpers: string[] = [];
  readonly specs: ContainerSpec[] = [];
  holds = false;
  unpacked = 0;
  readonly volume = new GateVolume({
    owner: "o",
    volume: "v",
    gate: async () => GATE,
    // Casts: the fakes of an engine, of which the volume uses these methods only.
    own_containers: {
      create: (_: string, spec: ContainerSpec) => this.#create(spec),
      remove: () => undefined,
    } as unknown as OwnContainers,
    containers: {
      fileSize: async () => (this.holds ? GATE.bytes.length : undefined),
      pack: async () => Buffer.from(GATE.bytes),
      unpack: async () => {
        this.unpacked++;
        this.holds = true;
      },
    } as unknown as Containers,
  });

  async #create(spec: ContainerSpec): Promise<{ id: string; name: string }> {
    const image = String(spec["Image"]);
    this.helpers.push(image);
    this.specs.push(spec);
    if (this.hang.has(image)) await new Promise(() => undefined);
    if (this.refuse.has(image)) throw new EngineError("container create", 500, "not a directory");
    return { id: `helper of ${image}`, name: "" };
  }
}

const image = (id: string, volumes: readonly string[] = []): HelperImage => ({ id, volumes });
const PATH = "/.slipway/gate-1";

test("GateVolume fills once for many images, and names the path", async () => {
  const engine = new Engine();
  expect(await Promise.all([1, 2, 3].map(() => engine.volume.ensure(image("a"))))).toEqual([PATH, PATH, PATH]);
  expect(await engine.volume.ensure(image("b"))).toBe(PATH);
  expect([engine.helpers, engine.unpacked]).toEqual([["a"], 1]);
});

// EDGE C1
test("GateVolume lets no image fail or wait for the helper of another before one is proven", async () => {
  const engine = new Engine();
  engine.hang.add("slow");
  engine.refuse.add("bad");
  const slow = engine.volume.ensure(image("slow"));
  const bad = engine.volume.ensure(image("bad"));
  expect(await engine.volume.ensure(image("good"))).toBe(PATH);
  expect(await slow).toBe(PATH); // served by the helper of the other
  expect(await bad.catch((error: unknown) => error instanceof EngineError)).toBe(true);
  expect(await engine.volume.ensure(image("bad"))).toBe(PATH);
});

test("GateVolume checks for an image that did not find the gate with the helper of a proven one, and the others go on", async () => {
  const engine = new Engine();
  await engine.volume.ensure(image("good"));
  engine.volume.prove(image("good"));
  engine.hang.add("good");
  engine.volume.doubt(image("hostile"))();
  let waits = true;
  void engine.volume.ensure(image("hostile")).then(() => (waits = false));
  for (const other of ["good", "other"]) expect(await engine.volume.ensure(image(other))).toBe(PATH);
  expect([waits, engine.helpers]).toEqual([true, ["good", "good"]]);
});

test("GateVolume puts a lost gate back for the image that misses it, with one check for starts that fail at once", async () => {
  const engine = new Engine();
  await engine.volume.ensure(image("a"));
  engine.volume.prove(image("a"));
  engine.holds = false;
  for (const one of ["a", "b", "c"]) engine.volume.doubt(image(one))();
  await Promise.all(["a", "b", "c"].map((one) => engine.volume.ensure(image(one))));
  expect([engine.unpacked, engine.helpers]).toEqual([2, ["a", "a"]]);
  await engine.volume.ensure(image("b"));
  expect(engine.helpers).toEqual(["a", "a"]);
});

test("GateVolume takes another helper if the proven image is gone, and forgets a failed check", async () => {
  const engine = new Engine();
  await engine.volume.ensure(image("a"));
  for (const one of ["a", "b"]) engine.volume.prove(image(one));
  for (const gone of ["a", "b"]) engine.refuse.add(gone);
  engine.volume.doubt(image("c"))();
  await Promise.all([engine.volume.ensure(image("c")), engine.volume.ensure(image("c"))]);
  expect(engine.helpers).toEqual(["a", "b", "a", "c"]);
  engine.refuse.add("c");
  engine.volume.doubt(image("c"))();
  expect(await engine.volume.ensure(image("c")).catch(() => "refused")).toBe("refused");
  engine.refuse.clear();
  expect(await engine.volume.ensure(image("c"))).toBe(PATH);
});

test("GateVolume prefers helpers without volumes, and makes no volume for one that has some", async () => {
  const engine = new Engine();
  await engine.volume.ensure(image("a", ["/data/", "/big"]));
  expect(engine.specs[0]).toMatchObject({ HostConfig: { Tmpfs: { "/data": "", "/big": "" } } });
  engine.volume.prove(image("a", ["/data"]));
  engine.volume.doubt(image("b"))();
  await engine.volume.ensure(image("b"));
  expect(engine.helpers).toEqual(["a", "b"]);
});
