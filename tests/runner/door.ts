import { Admission, type AdmissionLimits, type Place } from "../../lib/runner/admission.ts";
import { FakeClock, settled } from "../support/fake-clock.ts";

/** A signal that never aborts. */
export const never = new AbortController().signal;

/** Calls before an admission, and the order in which they got their places. */
export class Door {
  readonly clock: FakeClock;
  readonly admission: Admission;
  /** The names of the running calls, in the order in which they were let in. */
  readonly entered: string[] = [];
  readonly #places = new Map<string, Place>();

  constructor(limits: Partial<AdmissionLimits> = {}, clock = new FakeClock()) {
    this.clock = clock;
    const all = { max_running: 2, queue: 100, function_queue: 10, ...limits };
    this.admission = new Admission(all, this.clock);
  }

  /** A call of a function; its name begins with the function's. */
  async call(name: string, { max = 0, signal = never, concurrency = 1 } = {}): Promise<void> {
    const place = await this.admission.enter({ id: name.charAt(0), max_concurrency: max, concurrency }, signal);
    this.#places.set(name, place);
    this.entered.push(name);
  }

  /** The same for many calls, without waiting for their answers. */
  async calls(names: string, max = 0): Promise<void> {
    for (const name of names.split(" ")) this.call(name, { max }).catch(() => undefined);
    await settled();
  }

  async end(name: string): Promise<void> {
    this.#places.get(name)?.();
    this.#places.delete(name);
    await settled();
  }

  /** Ends the call that has run longest, until none runs. */
  async endAll(): Promise<void> {
    for (let name = this.#oldest(); name !== undefined; name = this.#oldest()) await this.end(name);
  }

  /** Returns the call that has run longest, of one function. */
  oldest(id: string): string {
    return this.#places.keys().find((name) => name.startsWith(id)) ?? "";
  }

  #oldest(): string | undefined {
    return this.#places.keys().next().value;
  }
}
