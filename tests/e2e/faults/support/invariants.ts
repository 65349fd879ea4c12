import { expect, spyOn } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { systemClock } from "../../../../lib/clock.ts";
import type { Reason } from "../../../../lib/domain/errors.ts";
import { STATUS_OF } from "../../../../lib/http/wire/status-of.ts";
import { expectWithin } from "../../../support/pace.ts";

/** The interval of `/healthz` requests. */
const HEALTH_INTERVAL_MS = 25;
/** The time that a reply may take: if the server is busy, and if only the machine is. */
const HEALTH_MS = { own: 100, any: 1_000 } as const;

/** The clock's own: a test that timed out may have left the counting one of `trackTimers` in its place. */
const after = systemClock.after.bind(systemClock);

/** Matches what no caller may see: host paths, SQL, stacks. */
const SECRETS =
  /\/(?:tmp|var|run|root|home|usr|etc)\/|\.sock\b|sqlite|\b(?:select|insert|update|delete) .* (?:from|into|set) |\bat .+:\d+:\d+/i;

/** Checks that a reply is the expected error, and everything that holds for all error envelopes. */
export async function expectProblem(response: Response, reason: Reason, message?: RegExp): Promise<void> {
  const text = await response.text();
  expect([response.status, text]).toEqual([STATUS_OF[reason], expect.stringContaining(`"reason":"${reason}"`)]);
  expect(JSON.parse(text)).toEqual({
    success: false,
    message: message === undefined ? expect.any(String) : expect.stringMatching(message),
    data: null,
    reason,
    request_id: response.headers.get("x-request-id"),
  });
  expect(text).not.toMatch(SECRETS);
  if (response.status === 503) expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
}

/**
 * Requests `/healthz` continually and fails at the end if it was slow: if this process used 100 ms of processor time
 * before a reply. In the rest of a reply's time the machine did other work, unless that took a second.
 */
export function watchHealth(url: string): AsyncDisposable {
  const stop = new AbortController();
  let worst = { own: 0, any: 0 };
  const watch = async () => {
    while (!stop.signal.aborted) {
      const [before, cpu] = [performance.now(), process.cpuUsage()];
      const { status } = await fetch(`${url}/healthz`);
      const [took, used] = [performance.now() - before, process.cpuUsage(cpu)];
      // On a quiet machine the processor time of a busy process is all the time that a reply takes.
      const own = Math.min(took, (used.user + used.system) / 1000);
      worst = { own: Math.max(worst.own, own), any: Math.max(worst.any, took) };
      if (status !== 200) worst.own = Infinity;
      await Bun.sleep(HEALTH_INTERVAL_MS);
    }
  };
  const watching = watch();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await watching;
      await expectWithin(worst.own, HEALTH_MS.own);
      await expectWithin(worst.any, HEALTH_MS.any);
    },
  };
}

/** Counts the sockets and database files that this process has open. */
export function openDescriptors(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // the descriptor of the listing itself
    }
  });
  return links.filter((link) => link.startsWith("socket:") || link.includes("database.db")).length;
}

/** Lists the timers of the servers in this process that have neither fired nor been cancelled: their time, and the lines that set them. */
export function trackTimers(): { readonly active: () => readonly string[]; readonly restore: () => void } {
  const active = new Set<{ readonly made: string }>();
  const spy = spyOn(systemClock, "after").mockImplementation((ms, run) => {
    const places = (new Error("here").stack ?? "").split("\n").slice(2, 5);
    const timer = { made: `${ms} ms ${places.map((place) => place.trim()).join(" ")}` };
    active.add(timer);
    const cancel = after(ms, () => {
      active.delete(timer);
      run();
    });
    return () => {
      active.delete(timer);
      cancel();
    };
  });
  return { active: () => [...active].map(({ made }) => made), restore: () => spy.mockRestore() };
}
