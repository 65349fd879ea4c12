import { describe, expect, test } from "bun:test";
import type { PulledImage } from "../../../lib/domain/images/pulled-images.ts";
import { createLogger } from "../../../lib/log.ts";
import type { Removal } from "../../../lib/runner/platform.ts";
import { ImageRetention } from "../../../lib/services/images/retention.ts";
import { newStore, someFunction } from "../../store/sqlite/support/stores.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";

/** A stand-in for the engine, with its answers and the requests that it got. */
class Setting implements Disposable {
  readonly clock = new FakeClock();
  readonly store = newStore(":memory:", this.clock);
  readonly log: string[] = [];
  readonly removed: string[] = [];
  present = ["A", "B"];
  lists = 0;
  /** The removals of images that this server had built. */
  built = 0;
  answer: Removal | Error = "removed";
  removing: Promise<void> = Promise.resolve();
  readonly retention = new ImageRetention({
    store: this.store.pulledImages,
    images: {
      list: async () => {
        this.lists++;
        if (this.answer instanceof Error) throw this.answer;
        return this.present.map((id) => ({
          id,
          names: [],
        }));
      },
      remove: async ({ id }) => {
        await this.removing;
        if (this.answer instanceof Error) throw this.answer;
        if (this.answer === "removed") this.removed.push(id);
        return this.answer;
      },
    },
    keep: 1,
    onBuiltRemoved: () => void this.built++,
    clock: this.clock,
    log: createLogger({
      level: "info",
      format: "json",
      clock: this.clock,
      write: (line) => this.log.push(line),
    }),
  });

  async pulled(...ids: readonly string[]): Promise<void> {
    for (const image_id of ids) await this.retention.pulled({ image_id, brought: true, names: [] });
  }

  get known(): readonly string[] {
    return this.store.pulledImages.list().map(({ image_id }: PulledImage) => image_id);
  }

  /** Includes everything that is written to the disk meanwhile. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    for (let i = 0; i < 10; i++) await settled();
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
  }
}

describe("ImageRetention", () => {
  test("removes images that no function needs, 2 s after a change, and forgets them", async () => {
    using setting = new Setting();
    await setting.store.functions.insert(someFunction("f1", { image_id: "A" }));
    await setting.pulled("A", "B");
    setting.retention.soon();
    await setting.pass(1_999);
    expect(setting.removed).toEqual([]);
    await setting.pass(1);
    expect(setting.removed).toEqual(["B"]);
    await setting.pass(0);
    expect(setting.known).toEqual(["A"]);
    expect(setting.log.join()).toContain('"why":"no function needs it any more"');
    expect(setting.clock.pending).toBe(0);
  });

  test("says that an image was removed that this server had built, and not one that it had pulled", async () => {
    using setting = new Setting();
    const name = { name: "slipway.local/app:1", created: true };
    await setting.retention.pulled({
      image_id: "A",
      brought: true,
      names: [{ name: "registry/app:1", created: true }],
    });
    setting.retention.soon();
    await setting.pass(2_000);
    expect([setting.removed, setting.built]).toEqual([["A"], 0]);
    await setting.retention.pulled({ image_id: "B", brought: true, names: [name] });
    setting.answer = "in_use";
    setting.retention.soon();
    await setting.pass(2_000);
    expect(setting.built).toBe(0);
    setting.answer = "removed";
    setting.retention.soon();
    await setting.pass(2_000);
    expect([setting.removed, setting.built]).toEqual([["A", "B"], 1]);
  });

  test("asks the engine nothing if all pulled images are needed", async () => {
    using setting = new Setting();
    await setting.store.functions.insert(someFunction("f1", { image_id: "A" }));
    await setting.pulled("A");
    setting.retention.start();
    await setting.pass(60_000);
    expect([setting.lists, setting.clock.pending]).toEqual([0, 0]);
  });

  test("looks for leftover images a minute after the start", async () => {
    using setting = new Setting();
    await setting.pulled("A");
    setting.retention.start();
    await setting.pass(59_999);
    expect(setting.removed).toEqual([]);
    await setting.pass(1);
    expect(setting.removed).toEqual(["A"]);
  });

  test.each<[string, Removal | Error]>([
    ["a container was made of it", "in_use"],
    ["others have named it", "named_by_others"],
    ["the engine is away", new Error("no engine")],
  ])("tries again after a minute, then two, up to an hour, or after a change, if %s", async (_, answer) => {
    using setting = new Setting();
    await setting.pulled("A");
    setting.answer = answer;
    setting.retention.soon();
    for (const wait of [2_000, 60_000, 120_000, 240_000, 480_000, 960_000, 1_920_000, 3_600_000, 3_600_000]) {
      const before = setting.lists;
      await setting.pass(wait - 1);
      expect([wait, setting.lists]).toEqual([wait, before]);
      await setting.pass(1);
      expect([wait, setting.lists]).toEqual([wait, before + 1]);
    }
    expect(setting.known).toEqual(["A"]);
    setting.answer = "removed";
    setting.retention.soon();
    await setting.pass(2_000);
    expect(setting.removed).toEqual(["A"]);
  });

  test("forgets images that others have removed, and does not touch them when they are back", async () => {
    using setting = new Setting();
    await setting.store.functions.insert(someFunction("f1", { image_id: "A" }));
    await setting.pulled("A", "B");
    setting.present = [];
    setting.retention.soon();
    await setting.pass(2_000);
    await setting.pass(0);
    expect([setting.known, setting.removed]).toEqual([[], []]);
  });

  test("removes nothing while it is held, and waits for a removal under way", async () => {
    using setting = new Setting();
    await setting.pulled("A", "B");
    const removal = Promise.withResolvers<void>();
    setting.removing = removal.promise;
    setting.retention.soon();
    await setting.pass(2_000);
    const work = Promise.withResolvers<void>();
    const begun: string[] = [];
    const held = setting.retention.holding(async () => {
      begun.push(setting.removed.join());
      await work.promise;
    });
    await setting.pass(0);
    expect(begun).toEqual([]);
    removal.resolve();
    await setting.pass(60_000);
    // The one under way is over, and no other begins.
    expect([begun, setting.removed]).toEqual([["A"], ["A"]]);
    work.resolve();
    await held;
    await setting.pass(2_000);
    expect(setting.removed).toEqual(["A", "B"]);
  });

  test("rethrows the error of the held work, and is free again", async () => {
    using setting = new Setting();
    await setting.pulled("A");
    const failed = setting.retention.holding(() => Promise.reject(new Error("no")));
    expect(await failed.catch((error: unknown) => String(error))).toBe("Error: no");
    await setting.pass(2_000);
    expect(setting.removed).toEqual(["A"]);
  });

  test("does nothing after it is disposed of", async () => {
    using setting = new Setting();
    await setting.pulled("A");
    setting.retention.soon();
    await setting.retention[Symbol.asyncDispose]();
    setting.retention.soon();
    await setting.pass(60_000);
    expect([setting.removed, setting.clock.pending]).toEqual([[], 0]);
  });
});
