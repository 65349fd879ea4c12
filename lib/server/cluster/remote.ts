import type { Runner } from "../../runner/runner.ts";
import type { InvocationEvents } from "../../services/calls/events.ts";
import { RemoteChanges } from "../../services/cluster/remote-changes.ts";
import type { Worker } from "../../services/work/worker.ts";
import type { Store } from "../../store/store.ts";
import type { Tools } from "../capability.ts";

interface RemoteLinks {
  readonly worker: Worker;
  readonly events: InvocationEvents;
  readonly runner: Pick<Runner, "placesChanged">;
}

/** Composes what servers of the same database do for each other; with a database of its own a server has nothing of it. */
export function createRemote(
  { clock, log }: Tools,
  { notices, history }: Store,
  { worker, events, runner }: RemoteLinks,
) {
  const stack = new AsyncDisposableStack();
  const start = (): void => {
    if (notices === null) return;
    const isHere = (id: string) => worker.isRunning(id);
    stack.use(new RemoteChanges({ notices, history, events, isHere, clock, log })).start();
    notices.listen(({ cancel, freed, wanted, more }) => {
      if (more || cancel.length > 0) worker.cancelledElsewhere();
      runner.placesChanged({ freed, wanted });
      for (const functionId of freed) worker.placeFreed(functionId);
    });
  };
  return { start, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}
