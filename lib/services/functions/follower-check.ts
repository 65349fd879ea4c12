import type { Allowed } from "../../domain/addresses.ts";
import { checkCallbackUrl } from "../../domain/calls/callbacks.ts";
import { chainProblem, FOLLOWERS } from "../../domain/functions/chains.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { quoted } from "../../domain/quoted.ts";
import type { FunctionStore } from "../../store/configuration.ts";

/** The settings of a body that say what follows from a function's asynchronous invocations. */
type Given = Partial<Pick<Function, "on_success" | "on_failure" | "callback_url">>;

/** The functions among which followers are looked for. */
type Known = Pick<FunctionStore, "get" | "links">;

interface FollowerDeps {
  readonly functions: Pick<FunctionStore, "find"> & Known;
  /** The addresses that callbacks may reach besides public ones. */
  readonly allowed: Allowed;
}

/** Checks the settings that lead somewhere: followers must exist and not lead back, callback URLs must be allowed. */
export class FollowerCheck {
  readonly #deps: FollowerDeps;

  constructor(deps: FollowerDeps) {
    this.#deps = deps;
  }

  /** Throws `invalid_request` for a URL that callbacks could never reach. */
  checkCallbackUrl(url: string): void {
    checkCallbackUrl(url, this.#deps.allowed);
  }

  /** Returns the ids of the followers that a body names by id or name. Throws `invalid_request` for an unknown one. */
  resolve(body: Given): Pick<Given, "on_success" | "on_failure"> {
    if (typeof body.callback_url === "string") this.checkCallbackUrl(body.callback_url);
    const entries = FOLLOWERS.flatMap((setting) => {
      const named = body[setting];
      if (named === undefined || named === null) return [];
      const found = this.#deps.functions.find(named) ?? missing(setting, named);
      return [[setting, found.id] as const];
    });
    return Object.fromEntries(entries);
  }

  /**
   * Throws `invalid_request` if a follower in `changes` must not be one. The answer holds for the functions as they are
   * now, or as `known` says they will be.
   */
  check(after: Function, changes: Given, known: Known = this.#deps.functions): void {
    if (FOLLOWERS.every((setting) => typeof changes[setting] !== "string")) return;
    for (const setting of FOLLOWERS) {
      const id = after[setting];
      if (id !== null && id !== after.id && known.get(id) === undefined) missing(setting, id);
    }
    const problem = chainProblem(known.links(), after);
    if (problem !== undefined) throw new AppError("invalid_request", problem);
  }
}

function missing(setting: string, named: string): never {
  const message = `Invalid "${setting}" ${quoted(named)}: there is no such function: GET /v1/functions lists them`;
  throw new AppError("invalid_request", message);
}
