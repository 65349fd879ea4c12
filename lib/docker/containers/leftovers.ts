import type { Clock } from "../../clock.ts";
import { mapConcurrent } from "../../domain/concurrency.ts";
import type { EngineAddress } from "../../domain/engine-address.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import { EngineConnection, EngineError } from "../api/connection.ts";
import { Containers } from "../api/containers.ts";
import { Networks } from "../api/networks.ts";
import { IsolatedNetwork } from "../networks/isolated-network.ts";

/** Containers that are removed at the same time. */
const REMOVALS_AT_ONCE = 8;
/** An engine whose server was killed may still be creating a container: it is looked at so many times in a row ... */
const QUIET_LOOKS = 3;
/** ... with a pause of so many milliseconds. */
const LOOK_PAUSE_MS = 500;
/** The most looks; containers that are still there then cannot be removed. */
const MAX_LOOKS = 20;

interface LeftoversOptions {
  readonly owner: string;
  readonly engine: EngineAddress;
  /** Limits a request to the engine. */
  readonly engine_timeout_ms: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Waits, and keeps the process alive meanwhile, as the clock's timers do not. */
  readonly pause: (ms: number) => Promise<void>;
}

/**
 * Removes the containers that servers with this owner left on the engine, and their network. Returns the number of
 * containers. No such server may be running. Throws `engine_unavailable` if the engine cannot be asked, or does not
 * remove some of them.
 */
export async function removeLeftovers(options: LeftoversOptions): Promise<number> {
  const { owner, engine, engine_timeout_ms, clock, log, metrics, pause } = options;
  using connection = new EngineConnection({ address: engine, timeout_ms: engine_timeout_ms, clock, metrics });
  const containers = new Containers(connection);
  const removed = new Set<string>();
  let quiet = 0;
  for (let look = 1; quiet < QUIET_LOOKS; look++) {
    if (look > 1) await pause(LOOK_PAUSE_MS);
    const left = await listed(containers, owner);
    quiet = left.length === 0 ? quiet + 1 : 0;
    if (look >= MAX_LOOKS && left.length > 0) {
      throw new AppError("engine_unavailable", `The engine does not remove ${left.length} containers: try again`);
    }
    await mapConcurrent(left, REMOVALS_AT_ONCE, async ({ id, name }) => {
      try {
        await containers.remove(id);
        removed.add(id);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        log.warn("container not removed, trying again", { container: name, problem: messageOf(error) });
      }
    });
  }
  await removeNetwork(new IsolatedNetwork({ networks: new Networks(connection), owner, log }));
  return removed.size;
}

async function removeNetwork(isolated: IsolatedNetwork): Promise<void> {
  try {
    await isolated.remove();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new AppError("engine_unavailable", `Cannot look at the engine's networks: ${error.message}`, {
      cause: error,
    });
  }
}

async function listed(containers: Containers, owner: string) {
  try {
    return await containers.listOwned(owner);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new AppError("engine_unavailable", `Cannot list the engine's containers: ${error.message}`, { cause: error });
  }
}
