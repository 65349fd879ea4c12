import type { Clock } from "../../clock.ts";
import type { Pulled, PulledImage } from "../../domain/images/pulled-images.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { BUILT_DOMAIN } from "../../domain/images/reference.ts";
import { BUILT_IMAGE_MS } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { ImageInventory } from "../../runner/platform.ts";
import type { PulledImageStore } from "../../store/configuration.ts";

/** The time from a change to the removal of images that it made useless, in milliseconds: calls that have begun end meanwhile. */
const DELAY_MS = 2_000;
/** The time from a start, or a removal that was not possible, to the next try, in milliseconds; doubled each time. */
const RETRY_MS = { first: 60_000, most: 3_600_000 } as const;

interface RetentionDeps {
  readonly store: PulledImageStore;
  readonly images: ImageInventory;
  /** The number of versions of a function whose images stay. */
  readonly keep: number;
  /** Called after the removal of an image that this server built: the engine may have left images of its steps. */
  readonly onBuiltRemoved: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Removes images from the engine that no function needs. It keeps those of functions as they are now, of their
 * latest `keep` versions, of versions that routes name, and of recent builds; it removes only images that this server
 * pulled or built and that nobody else uses. It works in the background; an image that cannot be removed now is tried again later.
 */
export class ImageRetention implements AsyncDisposable {
  readonly #deps: RetentionDeps;
  readonly #nextRun: Alarm;
  /** The work under way that may pull an image, or use one again. */
  #holders = 0;
  #removing: Promise<unknown> = Promise.resolve();
  #retryMs: number = RETRY_MS.first;
  #stopped = false;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    // It logs its own errors.
    this.#nextRun = new Alarm(deps.clock, () => void this.#run());
  }

  /** Schedules a look for images that an earlier server left, a while after the start. */
  start(): void {
    this.#schedule(RETRY_MS.first);
  }

  /** Schedules a look for images that are no longer needed, soon after a change. */
  soon(): void {
    this.#retryMs = RETRY_MS.first;
    this.#schedule(DELAY_MS);
  }

  /** Removes nothing while `work` runs: an image that it has found must exist when a function gets it. */
  holding<T>(work: () => Promise<T>): Promise<T> {
    return this.pausedDuring(async () => {
      const result = await work();
      await this.#deps.store.noteUsed(this.#deps.keep);
      return result;
    });
  }

  /** Removes nothing while `work` runs, which gets the image of a function that has it already. */
  async pausedDuring<T>(work: () => Promise<T>): Promise<T> {
    this.#holders++;
    try {
      await this.#removing;
      return await work();
    } finally {
      this.#holders--;
      this.soon();
    }
  }

  /** Returns the names that pulls of this server gave an image. */
  namesOf(imageId: string): readonly string[] {
    return this.#deps.store.get(imageId)?.names ?? [];
  }

  /** Notes what a pull has changed. */
  async pulled(pulled: Pulled): Promise<void> {
    await this.#deps.store.record(pulled);
  }

  /** Notes an image that was built. It stays for a while until a function is made of it, and from then on as all others do. */
  async built(image: Pulled): Promise<void> {
    await this.#deps.store.record(image, timestamp(this.#deps.clock.now() + BUILT_IMAGE_MS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#nextRun[Symbol.dispose]();
    await this.#removing;
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#nextRun.setSooner(delayMs);
  }

  async #run(): Promise<void> {
    // The work that holds it calls `soon` at its end.
    if (this.#holders > 0) return;
    const until = this.#deps.store.keptUntil();
    if (until !== undefined) this.#schedule(Math.max(0, Date.parse(until) - this.#deps.clock.now()) + DELAY_MS);
    const unneeded = this.#deps.store.unneeded(this.#deps.keep);
    if (unneeded.length === 0) return;
    try {
      if (await this.#removeAll(unneeded)) return;
    } catch (error) {
      this.#deps.log.warn("images that are not needed any more could not be removed, trying again later", { error });
    }
    this.#schedule(this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.most);
  }

  /** Removes images. Returns whether none is left that might be removed another time. */
  async #removeAll(unneeded: readonly PulledImage[]): Promise<boolean> {
    const images = new Map((await this.#deps.images.list()).map((image) => [image.id, image]));
    // If an image is gone and comes back, it was not pulled by us.
    for (const { image_id } of this.#deps.store.list())
      if (!images.has(image_id)) await this.#deps.store.delete(image_id);
    let all = true;
    for (const ours of unneeded) {
      const image = images.get(ours.image_id);
      if (image === undefined) continue;
      if (this.#holders > 0 || this.#stopped) return true;
      if (this.#deps.store.isNeeded(ours.image_id, this.#deps.keep)) continue;
      const removing = this.#deps.images.remove(image, ours);
      this.#removing = removing.catch(() => undefined);
      const result = await removing;
      this.#deps.log.info(result === "removed" ? "image removed" : "image kept", { ...ours, why: WHY[result] });
      if (result !== "removed") {
        all = false;
        continue;
      }
      await this.#deps.store.delete(ours.image_id);
      if (ours.names.some((name) => name.startsWith(`${BUILT_DOMAIN}/`))) this.#deps.onBuiltRemoved();
    }
    return all;
  }
}

const WHY = {
  removed: "no function needs it any more",
  in_use: "a container was made of it",
  named_by_others: "it has a name that this server did not give it",
} as const;
