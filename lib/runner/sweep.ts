import { messageOf } from "../domain/errors.ts";
import type { Containers } from "../engine/containers.ts";
import type { Logger } from "../log.ts";

/** A container that the list shows and nobody owns may be one that is just being removed: it is looked at again after this long. */
export const SWEEP_INTERVAL_MS = 60_000;

/**
 * Removes containers that this database's servers left behind: one was killed between create and start, the engine
 * was, or someone paused it. It touches none that lacks our owner label or name, and none that is in use.
 * Returns how many it removed.
 */
export async function sweep(options: {
  containers: Containers;
  owner: string;
  in_use: (name: string) => boolean;
  log: Logger;
}): Promise<number> {
  const strays = (await options.containers.listOwned(options.owner)).filter(({ name }) => !options.in_use(name));
  let removed = 0;
  for (const { id, name, state } of strays) {
    try {
      await options.containers.remove(id);
      removed++;
      options.log.info("stray container removed", { container: name, state });
    } catch (error) {
      options.log.warn("stray container not removed", { container: name, state, problem: messageOf(error) });
    }
  }
  return removed;
}
