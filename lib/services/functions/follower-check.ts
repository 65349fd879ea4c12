import type { Allowed } from "../../domain/addresses.ts";
import { checkCallbackUrl } from "../../domain/calls/callbacks.ts";
import { chainProblem, FOLLOWERS } from "../../domain/functions/chains.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { FunctionStore } from "../../store/sqlite/tables/functions.ts";

/** What a body may say of what follows from a function's asynchronous invocations. */
type Given = Partial<Pick<Function, "on_success" | "on_failure" | "callback_url">>;

/** Holds functions to settings that lead somewhere: to functions that exist, and not back; to URLs that may be called. */
export class FollowerCheck {
  readonly #functions: Pick<FunctionStore, "find" | "get" | "links">;
  readonly #allowed: Allowed;

  constructor(options: {
    functions: Pick<FunctionStore, "find" | "get" | "links">;
    /** What callbacks may reach beside public addresses. */
    allowed: Allowed;
  }) {
    this.#functions = options.functions;
    this.#allowed = options.allowed;
  }

  /** Throws `invalid_request` for a URL that callbacks could never reach. */
  checkCallbackUrl(url: string): void {
    checkCallbackUrl(url, this.#allowed);
  }

  /** The followers that a body names by their ids or names, as ids. Throws `invalid_request` for what cannot be. */
  resolve(body: Given): Pick<Given, "on_success" | "on_failure"> {
    if (typeof body.callback_url === "string") this.checkCallbackUrl(body.callback_url);
    const entries = FOLLOWERS.flatMap((setting) => {
      const named = body[setting];
      if (named === undefined || named === null) return [];
      const found = this.#functions.find(named) ?? unknown(setting, named);
      return [[setting, found.id] as const];
    });
    return Object.fromEntries(entries);
  }

  /** Asked at the moment of the write, too: throws `invalid_request` where a follower in `changes` must not be one. */
  check(after: Function, changes: Given): void {
    if (FOLLOWERS.every((setting) => typeof changes[setting] !== "string")) return;
    for (const setting of FOLLOWERS) {
      const id = after[setting];
      if (id !== null && id !== after.id && this.#functions.get(id) === undefined) unknown(setting, id);
    }
    const problem = chainProblem(this.#functions.links(), after);
    if (problem !== undefined) throw new AppError("invalid_request", problem);
  }
}

function unknown(setting: string, named: string): never {
  const shown = JSON.stringify(named.slice(0, 100));
  const message = `Invalid "${setting}" ${shown}: there is no such function: GET /v1/functions lists them`;
  throw new AppError("invalid_request", message);
}
