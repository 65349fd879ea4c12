import { describe, expect, test } from "bun:test";
import { NO_PROGRESS, type PullProgress } from "../../../lib/domain/images/pull-progress.ts";
import { SharedPull } from "../../../lib/docker/images/shared-pull.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

function progressAt(bytes: number): PullProgress {
  return { layers: [], downloaded_bytes: bytes, total_bytes: 1_000 };
}

function begin() {
  const clock = new FakeClock();
  const end = Promise.withResolvers<void>();
  let note: (progress: () => PullProgress) => void = () => undefined;
  const pull = new SharedPull(clock, (onProgress) => {
    note = onProgress;
    return end.promise;
  });
  const watch = () => {
    const seen: number[] = [];
    const leaving = new AbortController();
    pull.watch({ signal: leaving.signal, onProgress: (progress) => seen.push(progress.downloaded_bytes) });
    return { seen, leave: () => leaving.abort() };
  };
  return { clock, pull, end, watch, note: (bytes: number) => note(() => progressAt(bytes)) };
}

describe("SharedPull", () => {
  test("calls its watchers five times a second at most, always with the newest state", async () => {
    const { clock, note, watch } = begin();
    const { seen } = watch();
    expect(seen).toEqual([NO_PROGRESS.downloaded_bytes]);
    for (let bytes = 1; bytes <= 1_000; bytes++) {
      note(bytes);
      await clock.advance(1);
    }
    expect(seen).toEqual([0, 200, 400, 600, 800, 1_000]);
  });

  test("calls them at once after a pause", async () => {
    const { clock, note, watch } = begin();
    const { seen } = watch();
    await clock.advance(5_000);
    note(1);
    expect(seen).toEqual([0, 1]);
    note(2);
    expect(seen).toEqual([0, 1]);
    await clock.advance(200);
    expect([seen, clock.pending]).toEqual([[0, 1, 2], 0]);
  });

  test("calls a late watcher at once", async () => {
    const { clock, note, watch } = begin();
    note(7);
    const { seen } = watch();
    expect(seen).toEqual([7]);
    await clock.advance(200);
    expect(seen).toEqual([7, 7]);
  });

  test("does not call a watcher that has left, and goes on for the others", async () => {
    const { clock, note, watch } = begin();
    const [gone, other] = [watch(), watch()];
    gone.leave();
    note(1);
    await clock.advance(200);
    expect([gone.seen, other.seen]).toEqual([[0], [0, 1]]);
  });

  test("reports the last state before it ends, and leaves no timer", async () => {
    const { clock, pull, end, note, watch } = begin();
    const { seen } = watch();
    note(999);
    end.resolve();
    await pull.done;
    expect([seen, clock.pending]).toEqual([[0, 999], 0]);
  });

  test("fails as the pull does", async () => {
    const { clock, pull, end, note, watch } = begin();
    const { seen } = watch();
    note(5);
    end.reject(new Error("no"));
    expect(await rejectionOf(pull.done)).toEqual(new Error("no"));
    expect([seen, clock.pending]).toEqual([[0, 5], 0]);
  });
});
