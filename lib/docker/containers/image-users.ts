import { posix } from "node:path";
import { isRoot } from "../../domain/functions/rules.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { AppError } from "../../domain/errors.ts";
import { type Containers, OWNER_LABEL } from "../api/containers.ts";
import { isEngineStatus } from "../api/connection.ts";
import type { ImageConfig } from "../api/images.ts";
import { KnownAnswers } from "../images/known-answers.ts";
import { withoutVolumes } from "../images/volumes.ts";
import { type AccountLists, type NumericUser, resolveUser } from "./accounts.ts";
import { type CellUser, resolveCellUser } from "./cells/cell-users.ts";
import type { OwnContainers } from "./own-containers.ts";

/** The most bytes of a list of accounts and its archive; images have a kilobyte or two. */
const LIST_BYTES = 4 * 1024 * 1024;
/** The most links from a list's path to its file. */
const LINKS = 8;
/** The most images whose lists are remembered; most have a kilobyte or two. */
const KNOWN = 100;

interface ImageUsersDeps {
  readonly containers: Pick<Containers, "pack">;
  readonly own_containers: Pick<OwnContainers, "create" | "remove">;
  readonly owner: string;
}

/**
 * Finds users in the lists of accounts of images, as numbers: those of `strict` functions, since engines read a list so kindly
 * that many a line makes root, and those of functions in cells, whose gate becomes the user itself. A helper container that is
 * never started reads the lists, once for each image; the numbers are then all that the engine or the gate is told.
 */
export class ImageUsers {
  readonly #deps: ImageUsersDeps;
  /** The lists of accounts, by image. */
  readonly #known = new KnownAnswers<AccountLists>(KNOWN);

  constructor(deps: ImageUsersDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the user of a function of the sandbox `strict`, or nothing if its image says root: then it gets one of ours. Throws
   * `entrypoint_failed` for a user that would be root, or is none.
   */
  async find(fn: Function, image: ImageConfig): Promise<NumericUser | undefined> {
    const user = fn.user ?? image.user;
    if (fn.user === null && isRoot(user)) return undefined;
    const found = resolveUser(user, await this.#lists(fn, image));
    if (typeof found !== "string") return found;
    throw noUser(fn, `${found}: give another "user", or the sandbox "default"`);
  }

  /** Returns the user of a function in a cell: the gate runs as root and becomes that user itself. Throws as `find` does. */
  async findForCell(fn: Function, image: ImageConfig, strict: NumericUser | undefined): Promise<CellUser> {
    const user = strict === undefined ? (fn.user ?? image.user) : `${strict.uid}:${strict.gid}`;
    const found = resolveCellUser(user, await this.#lists(fn, image));
    if (typeof found === "string") throw noUser(fn, `${found}: give another "user"`);
    return { ...found, groups: strict?.groups ?? found.groups };
  }

  #lists({ image_id }: Function, image: ImageConfig): Promise<AccountLists> {
    const imageId = image_id ?? "";
    return this.#known.get(imageId, () => this.#readLists(imageId, image));
  }

  async #readLists(imageId: string, image: ImageConfig): Promise<AccountLists> {
    const { own_containers, owner } = this.#deps;
    const helper = await own_containers.create("look-", {
      Image: imageId,
      Entrypoint: ["/never-started"],
      Cmd: [],
      Labels: { [OWNER_LABEL]: owner },
      HostConfig: { NetworkMode: "none", Tmpfs: withoutVolumes(image) },
    });
    try {
      return { passwd: await this.#read(helper.id, "/etc/passwd"), group: await this.#read(helper.id, "/etc/group") };
    } finally {
      own_containers.remove(helper);
    }
  }

  /** Returns the text of a file, or nothing if there is none. A link is followed within the container, as engines do. */
  async #read(containerId: string, path: string): Promise<string> {
    try {
      for (let links = 0, at = path; links <= LINKS; links++) {
        const found = await fileOf(await this.#deps.containers.pack(containerId, at, LIST_BYTES));
        if (typeof found === "string") return found;
        at = posix.resolve(posix.dirname(at), found.link);
      }
      return "";
    } catch (error) {
      if (isEngineStatus(error, 404)) return "";
      throw error;
    }
  }
}

function noUser({ image }: Function, why: string): AppError {
  return new AppError("entrypoint_failed", `Cannot start a container of image "${image}": ${why}`);
}

/** Returns the text of the file in an archive, or where it leads if it is a link. Anything else has no accounts. */
async function fileOf(archive: Buffer): Promise<string | { readonly link: string }> {
  // Loaded with the first function that needs it.
  const { extract } = await import("tar-stream");
  const unpacked = extract();
  unpacked.end(archive);
  for await (const entry of unpacked) {
    const { type, linkname } = entry.header;
    if (type === "symlink" && linkname) return { link: linkname };
    if (type !== "file") return "";
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) if (chunk instanceof Uint8Array) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }
  return "";
}
