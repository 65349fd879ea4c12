import type { Clock } from "../../clock.ts";
import type { SharedPlace } from "../../runner/shared-places.ts";
import type { Claim, Claimed, Ledger, Turns } from "../../store/ledger.ts";
import type { AttemptMaker } from "./attempts.ts";
import type { FunctionRotation } from "./function-rotation.ts";

/** The most work that is taken at once: its attempts are begun in some 2 ms, then other tasks have a turn. */
const AT_ONCE = 20;

/** Work that was taken, with the place that was reserved for its attempt. */
export interface Taken extends Claimed {
  readonly shared_place?: SharedPlace | undefined;
}

/** Reserves at most so many places of a function of those that servers share; undefined if it needs none. */
export type Reserve = (functionId: string, most: number) => Promise<SharedPlace[] | undefined>;

interface ClaimerDeps {
  readonly ledger: Ledger;
  readonly attempts: AttemptMaker;
  readonly rotation: FunctionRotation;
  /** Left out if there is one server. */
  readonly reserve?: Reserve | undefined;
  readonly lease_ms: number;
  readonly clock: Clock;
}

/** Takes as much work as there is room for, with one command. */
export class Claimer {
  readonly #deps: ClaimerDeps;

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
  }

  /** Takes work of the functions that have room; undefined if none has. Throws as `Ledger.claim` does: then nothing is taken. */
  async take(): Promise<readonly Taken[] | undefined> {
    const { ledger, attempts, rotation, clock, lease_ms } = this.#deps;
    const turns = rotation.next(AT_ONCE, (functionId) => attempts.room(functionId));
    if (turns === undefined) return undefined;
    const places = await this.#reserve(turns);
    try {
      const now = clock.now();
      const open = within(turns, places);
      const lease = { now, until: now + lease_ms };
      const { claimed, left } = open.functions.length === 0 ? NOTHING : await ledger.claim(open, lease);
      rotation.settle(
        turns,
        claimed.map(({ work }) => work.function_id),
        left,
      );
      return claimed.map((one) => ({ ...one, shared_place: places.get(one.work.function_id)?.pop() }));
    } finally {
      for (const unused of places.values()) for (const place of unused) place();
    }
  }

  /** Reserves the places that the turns may need, of the functions that need them. */
  async #reserve({ functions }: Turns): Promise<Map<string, SharedPlace[]>> {
    const { reserve } = this.#deps;
    const places = new Map<string, SharedPlace[]>();
    if (reserve === undefined) return places;
    const all = functions.map(async ({ function_id, most }) => {
      const reserved = await reserve(function_id, most);
      if (reserved !== undefined) places.set(function_id, reserved);
    });
    await Promise.all(all);
    return places;
  }
}

const NOTHING: Claim = { claimed: [], left: [] };

/** Returns the turns that places were reserved for. The worker looks for the others at its next tick, or at news of a free place. */
function within(turns: Turns, places: ReadonlyMap<string, readonly SharedPlace[]>): Turns {
  const functions = turns.functions.flatMap(({ function_id, most }) => {
    const reserved = places.get(function_id)?.length ?? most;
    return reserved === 0 ? [] : [{ function_id, most: reserved }];
  });
  return { ...turns, functions };
}
