import { useState } from "preact/hooks";
import { ApiError } from "./api.ts";

/** Something that a reader does. */
export interface Action {
  readonly busy: boolean;
  /** Its last result: a sentence, or an error. */
  readonly done: string | undefined;
  readonly error: ApiError | undefined;
  /** Does it; `work` returns the sentence that says what was done. */
  readonly run: (work: () => Promise<string>) => void;
}

/** Keeps track of what a reader does, one thing at a time. */
export function useAction(): Action {
  const [state, setState] = useState<{ busy: boolean; done?: string; error?: ApiError }>({ busy: false });
  const run = (work: () => Promise<string>): void => {
    if (state.busy) return;
    setState({ busy: true });
    work().then(
      (done) => setState({ busy: false, done }),
      (error: unknown) => {
        const known =
          error instanceof ApiError ? error : new ApiError(String(error), { status: 0, reason: "internal" });
        setState({ busy: false, error: known });
      },
    );
  };
  return { busy: state.busy, done: state.done, error: state.error, run };
}
