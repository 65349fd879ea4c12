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
    const { attempts, rotation, reserve } = this.#deps;
    const turns = rotation.next(AT_ONCE, (functionId) => attempts.room(functionId));
    if (turns === undefined) return undefined;
    return reserve === undefined ? this.#claim(turns, turns) : this.#takeReserved(turns, reserve);
  }

  /** Takes work of functions that may need places of those that servers share: as much as could be reserved. */
  async #takeReserved(turns: Turns, reserve: Reserve): Promise<readonly Taken[]> {
    const places = await reserved(turns, reserve);
    try {
      const claimed = await this.#claim(turns, within(turns, places));
      return claimed.map((one) => ({ ...one, shared_place: places.get(one.work.function_id)?.pop() }));
    } finally {
      for (const unused of places.values()) for (const place of unused) place();
    }
  }

  /** Claims work for those of the turns that are `open`. */
  async #claim(turns: Turns, open: Turns): Promise<readonly Claimed[]> {
    const { ledger, rotation, clock, lease_ms } = this.#deps;
    const now = clock.now();
    const lease = { now, until: now + lease_ms };
    const { claimed, left } = open.functions.length === 0 ? NOTHING : await ledger.claim(open, lease);
    rotation.settle(
      turns,
      claimed.map(({ work }) => work.function_id),
      left,
    );
    return claimed;
  }
}

const NOTHING: Claim = { claimed: [], left: [] };

/** Reserves the places that the turns may need, of the functions that need them. */
async function reserved({ functions }: Turns, reserve: Reserve): Promise<Map<string, SharedPlace[]>> {
  const places = new Map<string, SharedPlace[]>();
  const all = functions.map(async ({ function_id, most }) => {
    const own = await reserve(function_id, most);
    if (own !== undefined) places.set(function_id, own);
  });
  await Promise.all(all);
  return places;
}

/** Returns the turns that places were reserved for. The worker looks for the others at its next tick, or at news of a free place. */
function within(turns: Turns, places: ReadonlyMap<string, readonly SharedPlace[]>): Turns {
  const functions = turns.functions.flatMap(({ function_id, most }) => {
    const own = places.get(function_id)?.length ?? most;
    return own === 0 ? [] : [{ function_id, most: own }];
  });
  return { ...turns, functions };
}
