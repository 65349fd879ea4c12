import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { DeploymentProbe } from "../../../lib/services/functions/deployment-probe.ts";
import { functionOf } from "../../runner/pool/fake-instances.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";

const web = functionOf("f", { contract: "http", boot_timeout_ms: 5_000 });

/** A probe whose runner tries functions out in this way, and the functions that it was asked about. */
function probeOf(tryOut: (signal: AbortSignal) => Promise<void> = () => Promise.resolve()) {
  const clock = new FakeClock();
  const tried: Function[] = [];
  const runner = {
    tryOut: (fn: Function, signal: AbortSignal) => {
      tried.push(fn);
      return tryOut(signal);
    },
  };
  const { log, events } = listeningLog();
  return { clock, tried, events, probe: new DeploymentProbe({ clock, runner, log }) };
}

describe("DeploymentProbe.tryOut", () => {
  test("returns a function that listens as it is", async () => {
    const { probe, tried, clock } = probeOf();
    expect(await probe.tryOut(undefined, web, {})).toBe(web);
    expect([tried, clock.pending]).toEqual([[web], 0]);
  });

  test.each<[string, Function | undefined, Function, boolean]>([
    ["has another contract", undefined, { ...web, contract: "files" }, true],
    ["is not to be tried", undefined, web, false],
    ["has changed in nothing that its instances are made of", { ...web, timeout_ms: 1 }, web, true],
  ])("tries no function that %s", async (_, before, after, probe) => {
    const under = probeOf(() => Promise.reject(new Error("tried")));
    expect(await under.probe.tryOut(before, after, { probe })).toBe(after);
    expect(under.tried).toEqual([]);
  });

  test("tries a change of what instances are made of, and warns behind what is known already", async () => {
    const { probe, tried } = probeOf(() => Promise.reject(new AppError("boot_failed", "It exited with code 1")));
    const after = { ...web, environment: { A: "1" }, warnings: ["Known"] };
    const { warnings } = await probe.tryOut(web, after, {});
    expect(warnings).toEqual(["Known", "The function was saved, but it does not run: It exited with code 1"]);
    expect(tried).toEqual([after]);
  });

  test("does not show an error of ours, which is in the log", async () => {
    const { probe, events } = probeOf(() => Promise.reject(new Error("a bug")));
    const { warnings } = await probe.tryOut(undefined, web, {});
    expect(warnings).toEqual([expect.stringContaining("an internal error, which is in the server's log")]);
    expect(events).toEqual([expect.objectContaining({ level: "error", function_id: "f" })]);
    expect(JSON.stringify(events)).toContain("a bug");
  });

  test("gives up 10 s after boot_timeout_ms", async () => {
    const { probe, clock } = probeOf(
      (signal) => new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
    );
    const answer = probe.tryOut(undefined, web, {});
    await clock.advance(14_999);
    expect(await Promise.race([answer, settled()])).toBeUndefined();
    await clock.advance(1);
    expect((await answer).warnings).toEqual([
      "The function was not tried: none of its instances could be started within 15000 ms",
    ]);
  });
});
