import type { Clock } from "../../clock.ts";
import { deadline } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { ChangedFunction, CreateFunction, Function } from "../../domain/functions/functions.ts";
import { needsNoNewContainer } from "../../runner/pool/compatibility.ts";
import type { Logger } from "../../log.ts";
import type { Runner } from "../../runner/runner.ts";

/**
 * The time beyond `boot_timeout_ms`, in milliseconds: the container has to be started before its function boots. On a
 * machine with nothing else to do that takes less than one second.
 */
const CONTAINER_MS = 10_000;

const SAVED = "The function was saved, but it does not run";

interface ProbeDeps {
  readonly runner: Pick<Runner, "tryOut">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Boots one instance of a function that was registered or changed, and finds out whether it listens: a wrong port, or a
 * missing variable, shows then and not at the first call. The instance stays for that call, so this costs nothing but the
 * wait, which ends as soon as the function listens, has exited, or could not be started at all.
 */
export class DeploymentProbe {
  readonly #deps: ProbeDeps;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
  }

  /**
   * Returns a function that was just saved with what is wrong with it, besides what is known already. Only functions that are started before their calls boot, and only a
   * change of what their instances are made of is worth a try.
   */
  async tryOut(
    before: Function | undefined,
    after: ChangedFunction,
    { probe = true }: Pick<CreateFunction, "probe">,
  ): Promise<ChangedFunction> {
    if (!isBooted(after.contract) || !probe || (before !== undefined && needsNoNewContainer(before, after)))
      return after;
    const warning = await this.#warningOf(after);
    return warning === undefined ? after : { ...after, warnings: [...(after.warnings ?? []), warning] };
  }

  async #warningOf(fn: Function): Promise<string | undefined> {
    const { runner, clock, log } = this.#deps;
    const most = fn.boot_timeout_ms + CONTAINER_MS;
    using limit = deadline(clock, most);
    try {
      await runner.tryOut(fn, limit.signal);
      return undefined;
    } catch (error) {
      if (limit.expired) return `The function was not tried: none of its instances could be started within ${most} ms`;
      if (error instanceof AppError) return `${SAVED}: ${error.message}`;
      log.error("a function could not be tried", { function_id: fn.id, error });
      return `${SAVED}: an internal error, which is in the server's log`;
    }
  }
}
