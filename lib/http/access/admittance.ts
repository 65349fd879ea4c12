import type { Server } from "bun";
import type { Caller } from "../../domain/keys.ts";
import type { Freshness } from "../../services/cluster/freshness.ts";
import type { Watching } from "../wire/idle-timeouts.ts";
import type { AccessCheck, Needs } from "./access.ts";
import type { ClientAddress } from "./client-address.ts";

/** The need of calls. They go by what this server knows, unless that is nothing. */
const CALL = "invoke";

interface AdmittanceDeps {
  readonly access: AccessCheck;
  readonly server: () => Server<unknown> | null;
  readonly unwatch: Watching["unwatch"];
  readonly clientAddress: ClientAddress;
  readonly freshness: Pick<Freshness, "isShared" | "now">;
}

/** Lets requests in, and knows their callers from then on. */
export class Admittance {
  readonly #deps: AdmittanceDeps;
  readonly #callers = new WeakMap<Request, Caller>();
  /** The addresses of requests that change something: after the answer the connection may be gone. */
  readonly #addresses = new WeakMap<Request, string | null>();

  constructor(deps: AdmittanceDeps) {
    this.#deps = deps;
  }

  /** True if `admit` never returns a promise. */
  get isPrompt(): boolean {
    return !this.#deps.freshness.isShared;
  }

  /** Lets a request in once; throws, or rejects, as the check of its access does. */
  admit(request: Request, needs: Needs, need: string): void | Promise<void> {
    // The reader of its body has let it in.
    if (this.#callers.has(request)) return undefined;
    const caller = this.#check(request, needs);
    if (caller instanceof Promise || (!this.isPrompt && need !== CALL))
      return this.#admitLater(request, needs, need, caller);
    return this.#letIn(request, caller, need);
  }

  /** Returns the caller of a request that was let in; undefined for any other. */
  callerOf(request: Request): Caller | undefined {
    return this.#callers.get(request);
  }

  /** Returns the address of a request that was let in to change something; null if it is not known. */
  addressOf(request: Request): string | null {
    return this.#addresses.get(request) ?? null;
  }

  /** Checks access twice: strangers must not make this server ask the database, and the key may have been revoked on another server. */
  async #admitLater(request: Request, needs: Needs, need: string, first: Caller | Promise<Caller>): Promise<void> {
    let caller = await first;
    if (need !== CALL) {
      await this.#deps.freshness.now();
      caller = await this.#check(request, needs);
    }
    this.#letIn(request, caller, need);
  }

  #check(request: Request, needs: Needs): Caller | Promise<Caller> {
    return this.#deps.access(request, this.#deps.server(), needs);
  }

  #letIn(request: Request, caller: Caller, need: string): void {
    const { clientAddress, server, unwatch } = this.#deps;
    this.#callers.set(request, caller);
    if (need === "write") this.#addresses.set(request, clientAddress(request, server()));
    // A pull may take minutes without a byte on this connection.
    unwatch(request);
  }
}
