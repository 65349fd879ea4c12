import type { IncomingMessage } from "node:http";
import type { Extract } from "tar-stream";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import { EngineError } from "../api/connection.ts";
import type { Image, Images } from "../api/images.ts";
import { KnownAnswers } from "./known-answers.ts";

/** The most pairs of images that are remembered. */
const KNOWN = 1_000;

interface MovedImagesDeps {
  readonly images: Pick<Images, "isByManifest" | "archive">;
  readonly log: Logger;
}

/**
 * Recognises images without a registry after their engine has changed from Docker's older image store to the containerd
 * one. The old id is the digest of the image's configuration, which `docker save` and `docker load` keep to the byte; the
 * new one is that of a manifest made by `docker load`. The engine's API tells the configuration's digest only by the
 * archive of the image, which has a file of that name: so it is read, once for each pair of images.
 */
export class MovedImages {
  readonly #deps: MovedImagesDeps;
  readonly #known = new KnownAnswers<boolean>(KNOWN);

  constructor(deps: MovedImagesDeps) {
    this.#deps = deps;
  }

  /** Returns whether an image is the one that an engine with the older store had under this id. */
  async isSame(before: string, image: Image): Promise<boolean> {
    if (!this.#deps.images.isByManifest(image)) return false;
    try {
      return await this.#known.get(`${before} ${image.id}`, () => this.#look(before, image.id));
    } catch (error) {
      const problem = messageOf(error);
      this.#deps.log.warn("an image cannot be looked into", { image_id: image.id, problem });
      if (error instanceof AppError || !(error instanceof EngineError)) throw error;
      return false;
    }
  }

  async #look(before: string, id: string): Promise<boolean> {
    // Loaded before the archive comes, which may break off at any moment.
    const { extract } = await import("tar-stream");
    const archive = await this.#deps.images.archive(id);
    try {
      return await hasFile(archive, extract(), `blobs/${before.replace(":", "/")}`);
    } finally {
      archive.destroy();
    }
  }
}

/** Returns whether a tar archive has a file; reads no further than its header. Rejects if the archive is cut. */
async function hasFile(archive: IncomingMessage, unpacked: Extract, name: string): Promise<boolean> {
  archive.on("error", (error) => unpacked.destroy(error));
  archive.on("aborted", () => unpacked.destroy(new Error("the archive was cut")));
  archive.pipe(unpacked);
  for await (const entry of unpacked) {
    if (entry.header.name === name) return true;
    entry.resume();
  }
  return false;
}
