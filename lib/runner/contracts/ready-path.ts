import type { Clock } from "../../clock.ts";
import type { BootPlan } from "../instance/boot-plan.ts";
import type { OpenStream } from "../instance/stream-exchange.ts";
import { HttpDialogue } from "./http-dialogue.ts";

/** The time from an answer that says "not yet" to the next question, in milliseconds. */
const PAUSE_MS = 20;
/** The time that an answer may take, in milliseconds: a server may accept connections and not answer yet. */
const PATIENCE_MS = 1_000;
/** The first status that says "not yet". */
const NOT_YET = 400;

/** Returns how to wait until a server answers a GET of this path with a status below 400. */
export function readyByPath(path: string): NonNullable<BootPlan["isReady"]> {
  return async (open, clock, goesOn) => {
    while (goesOn()) {
      if ((await statusOf(path, open, clock)) < NOT_YET) return undefined;
      if (!goesOn()) return undefined;
      await pause(clock, PAUSE_MS);
    }
    return undefined;
  };
}

/** Asks once. An answer that cannot be used is one that says "not yet". */
function statusOf(path: string, open: OpenStream, clock: Clock): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const head = {
    method: "GET",
    target: path,
    headers: [["Host", "localhost"] as const, ["User-Agent", "slipway"] as const, ["Connection", "close"] as const],
  };
  const no = () => resolve(Infinity);
  const listener = {
    answered: ({ response }: { readonly response: { readonly status: number } }) => resolve(response.status),
    ended: no,
    failed: no,
    delivered: no,
    undelivered: no,
    left: no,
  };
  const dialogue = new HttpDialogue({ head, coding: "none" }, new Uint8Array(0), open, listener, () => clock.now());
  const cancel = clock.after(PATIENCE_MS, no);
  return promise.finally(() => {
    cancel();
    dialogue.stop(new Error("The answer has said enough"));
  });
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
