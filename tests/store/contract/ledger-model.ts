import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { Turns } from "../../../lib/store/ledger.ts";
import type { Work } from "../../../lib/store/records.ts";

/** Work as the model has it, with the status of its invocation. */
interface Entry {
  readonly id: string;
  readonly function_id: string;
  readonly priority: number;
  state: Work["state"] | "done";
  status: Invocation["status"];
  due: number;
  attempts: number;
  lease_until: number | null;
}

/** A minimal ledger on plain objects in memory, as the model for every maker. */
export class LedgerModel {
  readonly entries = new Map<string, Entry>();
  readonly #keys = new Map<string, { readonly id: string; readonly hash: string }>();

  /** Returns the id of the invocation that was taken; undefined if the key came with another request. */
  submit(id: string, fields: Pick<Entry, "function_id" | "priority" | "due">, now: number, key?: [string, string]) {
    const known = key && this.#keys.get(`${fields.function_id} ${key[0]}`);
    if (known !== undefined) return known.hash === key?.[1] ? known.id : undefined;
    if (key !== undefined) this.#keys.set(`${fields.function_id} ${key[0]}`, { id, hash: key[1] });
    const state = fields.due > now ? "waiting" : "ready";
    this.entries.set(id, { id, ...fields, state, status: "queued", attempts: 0, lease_until: null });
    return id;
  }

  /** Takes work in turns, and returns it. Each turn looks at everything. */
  claim({ functions, limit, urgent }: Turns, until: number): Entry[] {
    const taken: Entry[] = [];
    const had = (functionId: string) => taken.filter(({ function_id }) => function_id === functionId).length;
    for (let turn = 0; turn < limit; turn++) {
      const lines = functions.flatMap(({ function_id, most }, position) => {
        const next = had(function_id) < most ? this.#next(function_id) : undefined;
        return next === undefined ? [] : [{ next, position, had: had(function_id) }];
      });
      const [line] = lines.toSorted(
        (a, b) => (turn < urgent ? b.next.priority - a.next.priority : 0) || a.had - b.had || a.position - b.position,
      );
      if (line === undefined) break;
      const { next } = line;
      taken.push(
        Object.assign(next, { state: "leased", status: "running", attempts: next.attempts + 1, lease_until: until }),
      );
    }
    return taken;
  }

  giveBack(id: string, attempt: number): void {
    const entry = this.#at(id, attempt, ["leased"]);
    if (entry !== undefined)
      Object.assign(entry, { state: "ready", status: "queued", attempts: attempt - 1, lease_until: null });
  }

  hold(id: string, attempt: number, until: number): boolean {
    const entry = this.#at(id, attempt, ["leased"]);
    if (entry !== undefined) entry.lease_until = Math.max(entry.lease_until ?? 0, until);
    return entry !== undefined;
  }

  renew(until: number): void {
    for (const entry of this.#in("leased")) entry.lease_until = Math.max(entry.lease_until ?? 0, until);
  }

  /** Ends an attempt, or has it made again at `due`. */
  end(
    id: string,
    attempt: number,
    from: readonly Work["state"][],
    to: Invocation["status"] | { due: number },
  ): boolean {
    const entry = this.#at(id, attempt, from);
    if (entry === undefined) return false;
    const isEnd = typeof to === "string";
    entry.state = isEnd ? "done" : "waiting";
    entry.status = isEnd ? to : "queued";
    entry.lease_until = null;
    if (!isEnd) entry.due = to.due;
    return true;
  }

  loseMine(): number {
    const leased = this.#in("leased");
    for (const entry of leased) entry.state = "lost";
    return leased.length;
  }

  lost(until: number): string[] {
    return this.#in("lost")
      .filter(({ lease_until }) => (lease_until ?? 0) <= until)
      .map(({ id }) => id)
      .toSorted();
  }

  wake(now: number): number {
    const due = this.#in("waiting").filter((entry) => entry.due <= now);
    for (const entry of due) entry.state = "ready";
    return due.length;
  }

  nextDue(): number | null {
    const due = this.#in("waiting").map((entry) => entry.due);
    return due.length === 0 ? null : Math.min(...due);
  }

  ready(): Record<string, number> {
    const ready: Record<string, number> = {};
    for (const { function_id, priority } of this.#in("ready"))
      ready[function_id] = Math.max(ready[function_id] ?? -Infinity, priority);
    return ready;
  }

  get left(): number {
    return [...this.entries.values()].filter(({ state }) => state !== "done").length;
  }

  #next(functionId: string): Entry | undefined {
    return this.#in("ready")
      .filter(({ function_id }) => function_id === functionId)
      .toSorted((a, b) => b.priority - a.priority || a.due - b.due || (a.id < b.id ? -1 : 1))[0];
  }

  #in(state: Entry["state"]): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.state === state);
  }

  #at(id: string, attempt: number, states: readonly Work["state"][]): Entry | undefined {
    const entry = this.entries.get(id);
    if (entry === undefined || entry.state === "done" || entry.attempts !== attempt) return undefined;
    return states.includes(entry.state) ? entry : undefined;
  }
}
