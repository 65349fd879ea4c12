import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, ask, askText } from "./api.ts";

/** The state of a request for data. The last answer stays while it is asked for again, and if that fails. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  readonly reload: () => void;
}

/** The time after which a failed request is made again, in milliseconds. */
const RETRY_MS = 3_000;

/** Asks the API for a path, again after every `every_ms` while the page is seen, and soon after a failure; nothing for null. */
export function useData<T>(path: string | null, every_ms = 0): Loaded<T> {
  const load = useCallback((signal: AbortSignal) => ask<T>(path ?? "", { signal }), [path]);
  return useLoaded(path, load, every_ms);
}

/** The same for an answer that is plain text. */
export function useText(path: string | null, every_ms = 0): Loaded<string> {
  const load = useCallback((signal: AbortSignal) => askText(path ?? "", signal), [path]);
  return useLoaded(path, load, every_ms);
}

/** The same for what `load` gets. It must be the same function as long as the path is the same. */
export function useLoaded<T>(
  path: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  every_ms: number,
): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const every = useRef(every_ms);
  every.current = every_ms;
  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (ms: number) => {
      if (ms > 0 && !abort.signal.aborted) timer = setTimeout(() => void run(), ms);
    };
    const run = async (): Promise<void> => {
      if (document.hidden) return again(every.current);
      try {
        const data = await load(abort.signal);
        if (abort.signal.aborted) return;
        setState({ path, data });
        again(every.current);
      } catch (error) {
        if (abort.signal.aborted || !(error instanceof ApiError)) return;
        setState((before) => ({ ...(before.path === path ? before : { path }), error }));
        if (error.status === 0 || error.status >= 500 || every.current > 0) again(Math.max(RETRY_MS, every.current));
      }
    };
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, load, turn]);
  const current = state.path === path ? state : undefined;
  return { data: current?.data, error: current?.error, reload };
}
