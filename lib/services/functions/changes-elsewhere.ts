import type { Runner } from "../../runner/runner.ts";
import type { ChangedElsewhere } from "../../store/configuration.ts";
import type { Store } from "../../store/store.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { FunctionService } from "./functions.ts";

interface ChangesElsewhereDeps {
  readonly store: Pick<Store, "functions" | "versions">;
  readonly functions: Pick<FunctionService, "changed" | "routesChanged">;
  readonly runner: Pick<Runner, "remove">;
  readonly retention: Pick<ImageRetention, "soon">;
}

/**
 * Does with functions and routes that other servers change what this one does with its own changes: instances of new and changed
 * functions, and of versions that routes name, are made ready, and others end.
 */
export class ChangesElsewhere {
  readonly #deps: ChangesElsewhereDeps;
  /** The functions with versions that routes name. */
  #named = new Set<string>();

  constructor(deps: ChangesElsewhereDeps) {
    this.#deps = deps;
    this.#named = this.#namedNow();
    deps.store.functions.follow((changed) => this.#follow(changed));
  }

  #follow({ functions: ids, routes }: ChangedElsewhere): void {
    const { store, functions, runner, retention } = this.#deps;
    for (const id of ids) {
      const fn = store.functions.get(id);
      if (fn === undefined) runner.remove(id);
      else functions.changed(fn, fn);
    }
    if (ids.length > 0) retention.soon();
    if (!routes) return;
    // A route that is gone does not say which version it named.
    const before = this.#named;
    this.#named = this.#namedNow();
    for (const id of before.union(this.#named)) functions.routesChanged(id);
  }

  #namedNow(): Set<string> {
    return new Set(this.#deps.store.versions.allNamed().map(({ id }) => id));
  }
}
