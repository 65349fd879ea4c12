import { expect, test } from "bun:test";
import { cores, durationMs, memoryBytes } from "../../../lib/domain/openfaas/quantities.ts";

test.each<readonly [string, number | undefined, number | undefined]>([
  ["128Mi", 128 * 2 ** 20, 128 * 2 ** 20],
  ["1.5Gi", 1.5 * 2 ** 30, 1.5 * 2 ** 30],
  ["64M", 64e6, 64 * 2 ** 20],
  ["1G", 1e9, 2 ** 30],
  ["2k", 2_000, 2_048],
  ["64m", 64 * 2 ** 20, 64 * 2 ** 20],
  ["64mb", 64 * 2 ** 20, 64 * 2 ** 20],
  ["1g", 2 ** 30, 2 ** 30],
  ["1048576", 2 ** 20, 2 ** 20],
  ["100b", 100, 100],
  [" 5Mi ", 5 * 2 ** 20, 5 * 2 ** 20],
  ["", undefined, undefined],
  ["Mi", undefined, undefined],
  ["-1Mi", undefined, undefined],
  ["1Xi", undefined, undefined],
  ["1e9", undefined, undefined],
])("%p of memory is %p bytes in Kubernetes, and %p in a compose file", (text, kubernetes, compose) => {
  expect([memoryBytes(text, { decimal: true }), memoryBytes(text, { decimal: false })]).toEqual([kubernetes, compose]);
});

test.each<readonly [string, number | undefined]>([
  ["100m", 0.1],
  ["1", 1],
  ["0.25", 0.25],
  ["1500m", 1.5],
  ["", undefined],
  ["m", undefined],
  ["1 core", undefined],
])("%p of processors is %p", (text, expected) => {
  expect(cores(text)).toBe(expected);
});

test.each<readonly [string, number | undefined]>([
  ["30s", 30_000],
  ["1m30s", 90_000],
  ["1h", 3_600_000],
  ["250ms", 250],
  ["1.5s", 1_500],
  ["30", 30_000],
  ["0s", 0],
  ["", undefined],
  ["soon", undefined],
  ["1d", undefined],
])("the duration %p is %p ms", (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});
