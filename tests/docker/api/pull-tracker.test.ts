import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Value } from "@sinclair/typebox/value";
import { PullProgress } from "../../../lib/domain/images/pull-progress.ts";
import { PullTracker } from "../../../lib/docker/api/pull-tracker.ts";

function trackerOf(lines: readonly unknown[]): PullTracker {
  const tracker = new PullTracker();
  for (const line of lines) tracker.add(line);
  return tracker;
}

function line(id: string, status: string, current?: number, total?: number) {
  return { id, status, progressDetail: current === undefined ? {} : { current, total } };
}

describe("PullTracker", () => {
  test("counts the layers of a pull by the engine's lines", () => {
    const tracker = new PullTracker();
    expect(tracker.add({ status: "Pulling from team/a", id: "1" })).toBe(false);
    expect(tracker.add(line("a", "Already exists"))).toBe(true);
    tracker.add(line("b", "Pulling fs layer"));
    tracker.add(line("c", "Pulling fs layer"));
    tracker.add(line("c", "Waiting"));
    expect(tracker.progress).toEqual({
      layers: [
        {
          id: "a",
          status: "exists",
          current_bytes: 0,
          total_bytes: null,
        },
        {
          id: "b",
          status: "waiting",
          current_bytes: 0,
          total_bytes: null,
        },
        {
          id: "c",
          status: "waiting",
          current_bytes: 0,
          total_bytes: null,
        },
      ],
      downloaded_bytes: 0,
      total_bytes: 0,
    });
    tracker.add(line("b", "Downloading", 30, 100));
    expect(tracker.progress).toMatchObject({ downloaded_bytes: 30, total_bytes: 100 });
    tracker.add(line("c", "Downloading", 10, 50));
    expect(tracker.progress).toMatchObject({ downloaded_bytes: 40, total_bytes: 150 });
    tracker.add(line("b", "Retrying in 5 seconds"));
    expect(tracker.progress.layers[1]).toEqual({ id: "b", status: "retrying", current_bytes: 30, total_bytes: 100 });
    tracker.add(line("b", "Verifying Checksum"));
    tracker.add(line("b", "Download complete"));
    expect(tracker.progress).toMatchObject({ downloaded_bytes: 110, total_bytes: 150 });
    // An extraction counts from 0 again, and is not a download.
    tracker.add(line("b", "Extracting", 5, 100));
    expect(tracker.progress.layers[1]).toEqual({ id: "b", status: "extracting", current_bytes: 100, total_bytes: 100 });
    tracker.add(line("b", "Pull complete"));
    expect(tracker.add({ status: "Digest: sha256:afef" })).toBe(false);
    expect(tracker.progress.layers.map(({ status }) => status)).toEqual(["exists", "complete", "downloading"]);
  });

  test("counts the bytes of a layer of unknown size", () => {
    const { progress } = trackerOf([line("a", "Downloading", 30, -1), line("b", "Downloading", 10, 0)]);
    expect(progress).toMatchObject({ downloaded_bytes: 40, total_bytes: 40 });
    expect(progress.layers.map(({ total_bytes }) => total_bytes)).toEqual([null, null]);
  });

  test("follows the containerd image store, which says no size of a layer that came fast, and counts seconds", () => {
    const tracker = trackerOf([
      line("a", "Pulling fs layer"),
      line("b", "Pulling fs layer"),
      line("b", "Downloading", 5_242_880, 31_460_288),
      { ...line("a", "Download complete"), progressDetail: { hidecounts: true } },
    ]);
    expect(tracker.progress).toMatchObject({ downloaded_bytes: 5_242_880, total_bytes: 31_460_288 });
    // A spoilt layer has more bytes than its manifest says.
    tracker.add(line("b", "Downloading", 31_460_294, 31_460_288));
    for (const id of ["a", "b"]) {
      tracker.add({ id, status: "Extracting", progressDetail: { current: 1, total: 2, units: "s" } });
      tracker.add({ ...line(id, "Pull complete"), progressDetail: { hidecounts: true } });
    }
    expect(tracker.progress).toEqual({
      layers: [
        { id: "a", status: "complete", current_bytes: 0, total_bytes: null },
        { id: "b", status: "complete", current_bytes: 31_460_288, total_bytes: 31_460_288 },
      ],
      downloaded_bytes: 31_460_288,
      total_bytes: 31_460_288,
    });
  });

  test.each<[unknown]>([
    [null],
    ["Downloading"],
    [[]],
    [{}],
    [{ id: 1, status: "Waiting" }],
    [{ id: "a" }],
    [{ id: "a", status: "constructor" }],
    [{ id: "a", status: "Pulling from x" }],
    [{ id: "x".repeat(200), status: "Waiting" }],
  ])("ignores %j", (garbage) => {
    const tracker = new PullTracker();
    expect(tracker.add(garbage)).toBe(false);
    expect(tracker.progress.layers).toEqual([]);
  });

  test("keeps no more layers than an image could have", () => {
    const { progress } = trackerOf(Array.from({ length: 5_000 }, (_, index) => line(`layer-${index}`, "Waiting")));
    expect(progress.layers).toHaveLength(1_000);
  });

  const statuses = [
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Already exists",
    "Retrying in 3 seconds",
    "Pulling from x",
    "nonsense",
  ];
  const count = fc.oneof(fc.nat(), fc.integer(), fc.double(), fc.constantFrom(-1, 0, 2 ** 60), fc.jsonValue());
  const anyLine = fc.oneof(
    fc.record({
      id: fc.constantFrom("a", "b", "c", "__proto__"),
      status: fc.constantFrom(...statuses),
      progressDetail: fc.oneof(fc.constant({}), fc.record({ current: count, total: count }), fc.jsonValue()),
    }),
    fc.jsonValue(),
  );

  test("never counts below zero or above its total, which never shrinks, for any lines in any order", () => {
    const property = fc.property(fc.array(anyLine, { maxLength: 60 }), (lines) => {
      const tracker = new PullTracker();
      let sum = 0;
      for (const one of lines) {
        tracker.add(one);
        const { progress } = tracker;
        expect(Value.Check(PullProgress, progress)).toBe(true);
        let downloaded = 0;
        let total = 0;
        for (const { current_bytes, total_bytes } of progress.layers) {
          expect(current_bytes).toBeLessThanOrEqual(total_bytes ?? Infinity);
          downloaded += current_bytes;
          total += total_bytes ?? current_bytes;
        }
        expect([progress.downloaded_bytes, progress.total_bytes]).toEqual([downloaded, total]);
        expect(downloaded).toBeLessThanOrEqual(total);
        expect(total).toBeGreaterThanOrEqual(sum);
        sum = total;
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("counts downloaded bytes the same for any order of the layers", () => {
    const layer = fc.record({
      total: fc.integer({ min: 1, max: 1e9 }),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const property = fc.property(fc.array(layer, { minLength: 1, maxLength: 8 }), fc.nat(), (layers, seed) => {
      const lines = layers.map(({ total, at }, index) =>
        line(`layer-${index}`, "Downloading", Math.floor(total * at), total),
      );
      const turned = [...lines.slice(seed % lines.length), ...lines.slice(0, seed % lines.length)];
      const { downloaded_bytes, total_bytes } = trackerOf(turned).progress;
      expect(total_bytes).toBe(layers.reduce((sum, { total }) => sum + total, 0));
      expect(downloaded_bytes).toBe(layers.reduce((sum, { total, at }) => sum + Math.floor(total * at), 0));
    });
    fc.assert(property);
  });
});
