import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Member } from "../../store/members.ts";
import type { SettingStore } from "../../store/configuration.ts";
import type { ImageRetention } from "./retention.ts";

interface OwnIdsDeps {
  readonly store: Pick<SettingStore, "ownImageId" | "noteOwnImageId">;
  readonly retention: () => Pick<ImageRetention, "pausedDuring">;
  /** Returns the servers that live with another engine than this one's. */
  readonly elsewhere: () => readonly Pick<Member, "id">[];
  readonly log: Logger;
}

/**
 * The ids that this server's engine has for the images of functions, if servers with other engines share these. Functions keep the
 * id that they were registered with: if each server wrote its own, servers with different engines would do so in turns.
 */
export class OwnIds {
  readonly #deps: OwnIdsDeps;

  constructor(deps: OwnIdsDeps) {
    this.#deps = deps;
  }

  ownId(imageId: string): string {
    return this.#deps.store.ownImageId(imageId) ?? imageId;
  }

  /** Never rejects: while the database is away, calls go on, and the id is found out again at the next start of an instance. */
  async note(imageId: string, ownId: string): Promise<void> {
    try {
      await this.#deps.store.noteOwnImageId(imageId, ownId);
    } catch (error) {
      this.#deps.log.warn("cannot note the id of an image on this engine", {
        image_id: imageId,
        own_id: ownId,
        problem: messageOf(error),
      });
    }
  }

  holding<T>(work: () => Promise<T>): Promise<T> {
    return this.#deps.retention().pausedDuring(work);
  }

  /** Returns why an image that no registry has cannot be a function's; undefined if all servers that live have this engine. */
  localProblem(reference: string): string | undefined {
    const others = this.#deps.elsewhere().map(({ id }) => `"${id}"`);
    if (others.length === 0) return undefined;
    return (
      `Image "${reference}" came from no registry, so the engines of other servers (${others.join(", ")}) cannot get it: ` +
      `push it to a registry that all servers reach, and give its name there`
    );
  }
}
