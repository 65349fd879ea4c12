import { messageOf } from "../../domain/errors.ts";
import type { Containers } from "../api/containers.ts";
import type { Logger } from "../../log.ts";

/** From one sweep to the next, in milliseconds. */
export const SWEEP_INTERVAL_MS = 60_000;
/** The same after one that failed, or could not remove all. */
export const SWEEP_RETRY_MS = 1_000;

/**
 * Removes containers that this database's servers left behind: one was killed between create and start, the engine
 * was, or someone paused it. It touches none that lacks our owner label or name, and none that is in use.
 */
export async function sweep(options: {
  containers: Containers;
  owner: string;
  in_use: (name: string) => boolean;
  log: Logger;
}): Promise<{ readonly removed: number; readonly left: readonly string[] }> {
  const { containers, in_use, log } = options;
  const strays = (await containers.listOwned(options.owner)).filter(({ name }) => !in_use(name));
  const left: string[] = [];
  for (const { id, name, state } of strays) {
    try {
      await containers.remove(id);
      log.info("stray container removed", { container: name, state });
    } catch (error) {
      left.push(name);
      log.warn("stray container not removed", { container: name, state, problem: messageOf(error) });
    }
  }
  return { removed: strays.length - left.length, left };
}
