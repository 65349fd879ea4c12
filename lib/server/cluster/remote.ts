import type { InvocationEvents } from "../../services/calls/events.ts";
import { RemoteChanges } from "../../services/cluster/remote-changes.ts";
import type { Worker } from "../../services/work/worker.ts";
import type { Store } from "../../store/store.ts";
import type { Tools } from "../capability.ts";

interface RemoteLinks {
  readonly worker: Worker;
  readonly events: InvocationEvents;
}

/** Composes what servers of the same database do for each other; with a database of its own a server has nothing of it. */
export function createRemote({ clock, log }: Tools, { notices, history }: Store, { worker, events }: RemoteLinks) {
  const stack = new AsyncDisposableStack();
  const start = (): void => {
    if (notices === null) return;
    const isHere = (id: string) => worker.isRunning(id);
    stack.use(new RemoteChanges({ notices, history, events, isHere, clock, log })).start();
    notices.listen(({ cancel, more }) => (more || cancel.length > 0 ? worker.cancelledElsewhere() : undefined));
  };
  return { start, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}
