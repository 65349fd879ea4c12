import { BUILT_DOMAIN, parseImageReference } from "../../domain/images/reference.ts";
import type { Pulled, PulledImage } from "../../domain/images/pulled-images.ts";
import type { Logger } from "../../log.ts";
import type { ImageInventory, NamedImage, Removal } from "../../runner/platform.ts";
import type { Images } from "../api/images.ts";

interface OwnImagesDeps {
  readonly images: Images;
  /** Called with what a pull has done. */
  readonly onPulled: (pulled: Pulled) => Promise<void>;
  readonly log: Logger;
}

/**
 * Knows which images are on the engine because this server pulled them, and removes them again. The engine does not keep
 * track of that, so each pull compares the images before and after it.
 */
export class OwnImages implements ImageInventory {
  readonly #deps: OwnImagesDeps;

  constructor(deps: OwnImagesDeps) {
    this.#deps = deps;
  }

  /** Runs a pull of a reference and reports what it has done. If that cannot be found out, the image counts as not ours. */
  async during(reference: string, pull: () => Promise<void>): Promise<void> {
    const before = await this.#quietly(reference, () => this.#deps.images.list());
    await pull();
    if (before !== undefined) await this.#quietly(reference, () => this.#tell(reference, before));
  }

  list(): Promise<NamedImage[]> {
    return this.#deps.images.list();
  }

  /**
   * Removes an image of ours, unless it is in use or has a name that we did not give it: that name would be gone
   * with the image, and names are all that others see of it.
   */
  async remove({ id, names }: NamedImage, ours: PulledImage): Promise<Removal> {
    if (names.some((name) => !ours.names.includes(name))) return "named_by_others";
    if (await this.#deps.images.hasContainers(id)) return "in_use";
    // By its id, the engine also removes the names and checks again that it is unused, but only if there is one tag.
    // An image that was pulled has no steps, or those of others who have built it.
    const parents = ours.names.some((name) => registryPart(name) === BUILT_DOMAIN);
    for (const name of isSingle(names) ? [id] : names.toSorted(digestsFirst)) {
      if (!(await this.#deps.images.remove(name, { parents }))) return "in_use";
    }
    return "removed";
  }

  async #tell(reference: string, before: readonly NamedImage[]): Promise<void> {
    const { normalized, name } = parseImageReference(reference);
    const image = (await this.#deps.images.list()).find(({ names }) => names.includes(normalized));
    if (image === undefined) return;
    const known = new Set(before.flatMap(({ names }) => names));
    await this.#deps.onPulled({
      image_id: image.id,
      brought: before.every(({ id }) => id !== image.id),
      names: image.names
        .filter((other) => other === normalized || isDigestOf(other, name))
        .map((other) => ({ name: other, created: !known.has(other) })),
    });
  }

  async #quietly<T>(reference: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#deps.log.warn("it is not known whether a pull brought its image: it will not be removed", {
        image: reference,
        error,
      });
      return undefined;
    }
  }
}

function registryPart(name: string): string {
  return parseImageReference(name).domain;
}

function isDigestOf(reference: string, name: string): boolean {
  return reference.includes("@") && parseImageReference(reference).name === name;
}

function digestsFirst(a: string, b: string): number {
  return Number(b.includes("@")) - Number(a.includes("@"));
}

/** Returns whether all names are of one repository, and at most one of them is a tag. */
function isSingle(names: readonly string[]): boolean {
  const repositories = new Set(names.map((name) => parseImageReference(name).name));
  return repositories.size <= 1 && names.filter((name) => !name.includes("@")).length <= 1;
}
