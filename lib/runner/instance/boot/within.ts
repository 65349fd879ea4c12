import type { Clock } from "../../../clock.ts";

/** Waits for a promise for at most so many milliseconds, and throws the error that `late` returns if that is not enough. */
export async function within<T>(
  clock: Pick<Clock, "after">,
  ms: number,
  wait: Promise<T>,
  late: () => Error,
): Promise<T> {
  const expired = Promise.withResolvers<never>();
  const cancel = clock.after(ms, () => expired.reject(late()));
  try {
    return await Promise.race([wait, expired.promise]);
  } finally {
    cancel();
  }
}
