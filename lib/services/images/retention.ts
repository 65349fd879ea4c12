import type { Clock } from "../../clock.ts";
import type { Pulled, PulledImage } from "../../domain/images/pulled-images.ts";
import type { Logger } from "../../log.ts";
import type { OwnImages } from "../../docker/images/own-images.ts";
import type { PulledImageStore } from "../../store/configuration.ts";

/** From a change to the removal of what it has made useless, in milliseconds: calls that have begun end meanwhile. */
const DELAY_MS = 2_000;
/** From a start, or a removal that was not possible, to the next try; doubled each time. */
const RETRY_MS = { first: 60_000, most: 3_600_000 } as const;

/**
 * Removes images from the engine that no function needs any more: none of those that functions are now, of their latest
 * `keep` versions, or of versions that routes name; only what this server pulled, and only where nobody else uses it.
 * It works in the background, and what cannot be removed now is tried again later.
 */
export class ImageRetention implements AsyncDisposable {
  readonly #store: PulledImageStore;
  readonly #images: Pick<OwnImages, "list" | "remove">;
  readonly #keep: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Work under way that may bring an image or take one up again. */
  #holders = 0;
  #removing: Promise<unknown> = Promise.resolve();
  #cancel: () => void = () => undefined;
  #dueAt = Infinity;
  #retryMs: number = RETRY_MS.first;
  #stopped = false;

  constructor(options: {
    store: PulledImageStore;
    images: Pick<OwnImages, "list" | "remove">;
    /** Versions of a function whose images stay. */
    keep: number;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#images = options.images;
    this.#keep = options.keep;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Looks a while after the start for what an earlier one left. */
  start(): void {
    this.#schedule(RETRY_MS.first);
  }

  /** Something has changed: looks soon for images that are not needed any more. */
  soon(): void {
    this.#retryMs = RETRY_MS.first;
    this.#schedule(DELAY_MS);
  }

  /** Removes nothing while `work` runs: an image that it has found must be there when a function has it. */
  async holding<T>(work: () => Promise<T>): Promise<T> {
    this.#holders++;
    try {
      await this.#removing;
      return await work();
    } finally {
      this.#holders--;
      this.soon();
    }
  }

  /** Takes note of what a pull has done. */
  async pulled(pulled: Pulled): Promise<void> {
    await this.#store.record(pulled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#removing;
  }

  #schedule(delayMs: number): void {
    const dueAt = this.#clock.monotonic() + delayMs;
    if (this.#stopped || dueAt >= this.#dueAt) return;
    this.#cancel();
    this.#dueAt = dueAt;
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#dueAt = Infinity;
      // It says itself what goes wrong.
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    // Whoever holds it asks for the next run.
    if (this.#holders > 0) return;
    const unneeded = this.#store.unneeded(this.#keep);
    if (unneeded.length === 0) return;
    try {
      if (await this.#removeAll(unneeded)) return;
    } catch (error) {
      this.#log.warn("images that are not needed any more could not be removed, trying again later", { error });
    }
    this.#schedule(this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.most);
  }

  /** Whether nothing is left that might go another time. */
  async #removeAll(unneeded: readonly PulledImage[]): Promise<boolean> {
    const images = new Map((await this.#images.list()).map((image) => [image.id, image]));
    // Whoever brings one back that is gone is not us.
    for (const { image_id } of this.#store.list()) if (!images.has(image_id)) await this.#store.delete(image_id);
    let all = true;
    for (const ours of unneeded) {
      const image = images.get(ours.image_id);
      if (image === undefined) continue;
      if (this.#holders > 0 || this.#stopped) return true;
      if (this.#store.isNeeded(ours.image_id, this.#keep)) continue;
      const removing = this.#images.remove(image, ours);
      this.#removing = removing.catch(() => undefined);
      const result = await removing;
      this.#log.info(result === "removed" ? "image removed" : "image kept", { ...ours, why: WHY[result] });
      if (result === "removed") await this.#store.delete(ours.image_id);
      else all = false;
    }
    return all;
  }
}

const WHY = {
  removed: "no function needs it any more",
  in_use: "a container was made of it",
  named_by_others: "it has a name that no pull of this server gave it",
} as const;
