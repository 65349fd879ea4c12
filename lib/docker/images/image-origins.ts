import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BUILT_DOMAIN, parseImageReference, spelledOut } from "../../domain/images/reference.ts";
import { registryOf, type RegistryCredentials } from "../../domain/images/registries.ts";
import type { Logger } from "../../log.ts";
import { EngineError } from "../api/connection.ts";
import type { Image, Images } from "../api/images.ts";

/** The most digests that are remembered to be in their registry. */
const KNOWN = 1_000;
/** The time for which a registry that could not be asked is not asked again, in milliseconds. */
const SILENCE_MS = 60_000;

interface ImageOriginsDeps {
  readonly images: Pick<Images, "inRegistry" | "digestsProvePulls">;
  /** Returns the names that pulls of this server gave an image, in full. */
  readonly pulledNames: (imageId: string) => readonly string[];
  /** Returns a registry's credentials. */
  readonly credentialsFor: (host: string) => RegistryCredentials | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A registry's answer to the question whether it has a digest; `silent` if it could not be asked. */
type Answer = "yes" | "no" | "silent";

/**
 * Knows which images came from a registry. A digest alone proves it only on engines with Docker's older image store: in
 * the containerd image store, and in Podman, images that were only built or tagged have digests too. There an image came
 * from a registry if this server pulled it, or if the registry says that it has it. The registry is asked for the digest,
 * not for the tag: another image of the same name there must not replace one that was built here.
 */
export class ImageOrigins {
  readonly #deps: ImageOriginsDeps;
  readonly #known = new Set<string>();
  /** Registries that could not be asked, and when they may be asked again. */
  readonly #silent = new Map<string, number>();

  constructor(deps: ImageOriginsDeps) {
    this.#deps = deps;
  }

  /** Notes that an image has just been pulled by this reference. */
  notePulled(reference: string, image: Image): void {
    for (const digest of ofRepository(reference, image)) this.#remember(digest);
  }

  /**
   * Returns the digest by which a registry has an image, of the reference's own repository if possible; null for an image
   * that exists only on the engine.
   */
  async digestOf(reference: string, given: Image): Promise<string | null> {
    const image = ofRegistries(given);
    const own = ofRepository(reference, image);
    const proven = this.#proven(image);
    const known = own.find((digest) => proven.has(digest)) ?? [...proven][0];
    if (known !== undefined) return known;
    return (await this.#ask(own)) === "yes" ? (own[0] ?? null) : null;
  }

  /**
   * Returns whether a reference's registry has the image that the engine has under it. An image that its function has by
   * a digest, which a registry gave it, came from there: throws `image_unavailable` if the registry cannot be asked.
   */
  async isFromRegistry(reference: string, given: Image, digest: string | null): Promise<boolean> {
    const image = ofRegistries(given);
    const own = ofRepository(reference, image);
    const proven = this.#proven(image);
    if (own.some((candidate) => proven.has(candidate))) return true;
    const answer = await this.#ask(own);
    if (answer === "silent" && digest !== null && own.includes(digest)) {
      throw new AppError(
        "image_unavailable",
        `Cannot pull image "${reference}": its registry cannot be asked. Check that it can be reached from the engine.`,
        { retry_after_s: 10 },
      );
    }
    if (own.length > 0 && answer !== "yes") {
      this.#deps.log.info("image looked up, not pulled: its registry does not say that it has it", {
        image: reference,
        answer,
      });
    }
    return answer === "yes";
  }

  /** Returns the digests that need no question. */
  #proven({ id, digests }: Image): ReadonlySet<string> {
    if (this.#deps.images.digestsProvePulls(id, digests)) return new Set(digests);
    const names = new Set(this.#deps.pulledNames(id));
    return new Set(digests.filter((digest) => this.#known.has(digest) || names.has(spelledOut(digest))));
  }

  async #ask([digest]: readonly string[]): Promise<Answer> {
    if (digest === undefined) return "no";
    const host = registryOf(digest);
    if (host === undefined) return "no";
    const { clock, images, credentialsFor, log } = this.#deps;
    if ((this.#silent.get(host) ?? 0) > clock.monotonic()) return "silent";
    this.#silent.delete(host);
    try {
      if (!(await images.inRegistry(digest, credentialsFor(host)))) return "no";
      this.#remember(digest);
      return "yes";
    } catch (error) {
      if (!(error instanceof EngineError || error instanceof AppError)) throw error;
      this.#silent.set(host, clock.monotonic() + SILENCE_MS);
      log.info("a registry cannot be asked for an image", { registry: host, problem: messageOf(error) });
      return "silent";
    }
  }

  #remember(digest: string): void {
    if (this.#known.size >= KNOWN) this.#known.clear();
    this.#known.add(digest);
  }
}

/** Returns an image without the digests that the containerd image store gives what this server has built: no registry has them. */
function ofRegistries(image: Image): Image {
  return { ...image, digests: image.digests.filter((digest) => !digest.startsWith(`${BUILT_DOMAIN}/`)) };
}

/** Returns an image's digests of the repository that a reference names. */
function ofRepository(reference: string, { digests }: Image): readonly string[] {
  const { name } = parseImageReference(reference);
  return digests.filter((digest) => isOf(name, digest));
}

function isOf(name: string, digest: string): boolean {
  try {
    return parseImageReference(digest).name === name;
  } catch {
    return false;
  }
}
