import { extract } from "tar-stream";
import { isRoot } from "../../domain/functions/rules.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { AppError } from "../../domain/errors.ts";
import type { Containers } from "../api/containers.ts";
import type { ImageConfig } from "../api/images.ts";
import { isEngineStatus } from "../api/connection.ts";

const PASSWD = "/etc/passwd";
/** The most bytes of a list of accounts and its archive; images have a kilobyte or two. */
const PASSWD_BYTES = 4 * 1024 * 1024;
/** The most names that are remembered. */
const KNOWN = 1_000;

/**
 * Makes sure that a `strict` function is not root under another name: only its image knows whether `toor` is 0. The engine
 * looks names up in the image's own list of accounts, and so do we, once for each image and name.
 */
export class StrictUsers {
  readonly #containers: Pick<Containers, "pack">;
  readonly #fine = new Set<string>();

  constructor(containers: Pick<Containers, "pack">) {
    this.#containers = containers;
  }

  /** Throws `entrypoint_failed` for a container of a `strict` function whose user would be root. */
  async check(fn: Function, image: ImageConfig, containerId: string): Promise<void> {
    const [account = ""] = (fn.user ?? image.user).split(":");
    // Root by its own name was refused earlier, or replaced by another user.
    if (isRoot(account) || /^\d+$/.test(account)) return;
    const key = JSON.stringify([fn.image_id, account]);
    if (this.#fine.has(key)) return;
    if (await this.#isRootIn(containerId, account)) {
      throw new AppError(
        "entrypoint_failed",
        `Cannot start a container of image "${fn.image}": the sandbox "strict" has no root user, and its user "${account}" is one: give another "user", or the sandbox "default"`,
      );
    }
    if (this.#fine.size >= KNOWN) this.#fine.clear();
    this.#fine.add(key);
  }

  async #isRootIn(containerId: string, account: string): Promise<boolean> {
    try {
      const lines = await contentOf(await this.#containers.pack(containerId, PASSWD, PASSWD_BYTES));
      // A list that is not a plain file says nothing, and the engine reads anything but a number as 0.
      return lines === undefined || lines.some(({ name, uid }) => name === account && !(Number(uid) > 0));
    } catch (error) {
      // Without a list the engine finds no name and says so at the start.
      if (isEngineStatus(error, 404)) return false;
      throw error;
    }
  }
}

interface Account {
  readonly name: string | undefined;
  readonly uid: string | undefined;
}

/** Returns the accounts in the archive of a list of them, or nothing if it is not a plain file. */
async function contentOf(archive: Buffer): Promise<readonly Account[] | undefined> {
  const unpacked = extract();
  unpacked.end(archive);
  for await (const entry of unpacked) {
    if (entry.header.type !== "file") return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) if (chunk instanceof Uint8Array) chunks.push(chunk);
    const lines = Buffer.concat(chunks).toString().split("\n");
    return lines.map((line) => line.trim().split(":")).map(([name, _password, uid]) => ({ name, uid }));
  }
  return undefined;
}
