import type { Runner } from "../../runner/runner.ts";
import type { InvocationEvents } from "../../services/calls/events.ts";
import type { Members } from "../../services/cluster/members.ts";
import { RemoteChanges } from "../../services/cluster/remote-changes.ts";
import { RemoteOutput } from "../../services/cluster/remote-output.ts";
import type { Worker } from "../../services/work/worker.ts";
import type { Store } from "../../store/store.ts";
import { VERSION as version } from "../../version.ts";
import type { Tools } from "../capability.ts";

export interface RemoteLinks {
  readonly worker: Worker;
  readonly events: InvocationEvents;
  readonly runner: Pick<Runner, "sharedPlacesChanged">;
  /** The other servers, and the key that they share; undefined without any. */
  readonly others: { readonly members: Members; readonly key: Uint8Array } | undefined;
}

/** Composes what servers of the same database do for each other; with a database of its own a server has nothing of it. */
export function createRemote(
  { clock, log }: Tools,
  { notices, history }: Store,
  { worker, events, runner, others }: RemoteLinks,
) {
  const stack = new AsyncDisposableStack();
  const start = (): void => {
    if (notices === null || others === undefined) return;
    const isHere = (id: string) => worker.isRunning(id);
    const output = stack.use(new RemoteOutput({ ...others, events, isHere, version, clock, log }));
    stack.use(new RemoteChanges({ notices, history, events, output, isHere, clock, log })).start();
    notices.listen(({ cancel, freed, wanted, more }) => {
      if (more || cancel.length > 0) worker.cancelledElsewhere();
      runner.sharedPlacesChanged({ freed, wanted });
      for (const functionId of freed) worker.sharedPlaceFreed(functionId);
    });
  };
  return { start, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}
