import { beforeEach, expect, test } from "bun:test";
import { AppError } from "../../lib/domain/errors.ts";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { cellsUnavailable } from "../../lib/domain/functions/isolation.ts";
import { CellCheck } from "../../lib/runner/cell-check.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { encodeGateFrame } from "../gate/support/gate-frames.ts";
import { FakeChannel } from "./instance/fake-channel.ts";

let launched: Function[];
let channels: FakeChannel[];
let refusal: AppError | undefined;
let unlaunchable: AppError | undefined;
let checks: CellCheck;

beforeEach(() => {
  launched = [];
  channels = [];
  refusal = unlaunchable = undefined;
  checks = new CellCheck({
    platform: {
      launch: async (fn) => {
        launched.push(fn);
        if (unlaunchable) throw unlaunchable;
        const channel = new FakeChannel();
        channel.accept = () => refusal;
        channel.read = ({ onBytes }) =>
          queueMicrotask(() => onBytes(encodeGateFrame({ type: "ready", version: 10, uid: 0, gid: 0 })));
        channels.push(channel);
        return channel;
      },
    },
    ready_timeout_ms: 1_000,
    clock: new FakeClock(),
    signal: new AbortController().signal,
  });
});

test("CellCheck has a gate try with the image and the settings that matter, once, and ends it", async () => {
  await Promise.all([checks.check({ sandbox: "strict" }, "id"), checks.check({ sandbox: "strict" }, "id")]);
  await checks.check({ sandbox: "strict" }, "another image");
  expect(launched).toMatchObject([{ image_id: "id", sandbox: "strict", isolation: "cell", network: "none" }]);
  expect(channels.every(({ closed }) => closed)).toBe(true);
  await checks.check({ sandbox: "strict", runtime: "runsc" }, "id");
  expect(launched).toHaveLength(2);
});

test("CellCheck asks a new engine again, and one that could not make cells each time", async () => {
  refusal = cellsUnavailable("its containers are confined", null);
  const refused = checks.check({}, "id").catch((error: unknown) => error);
  expect(await refused).toMatchObject({
    reason: "invalid_request",
    message: expect.stringContaining("its containers are confined"),
  });
  const withRuntime = await checks.check({ runtime: "runsc" }, "id").catch((error: unknown) => error);
  expect(withRuntime).toMatchObject({
    message: expect.stringMatching(
      /with the runtime "runsc" \(its containers are confined\); .*, or another "runtime"$/,
    ),
  });
  refusal = undefined;
  await checks.check({}, "id");
  await checks.check({}, "id");
  expect(launched).toHaveLength(3);
  checks.forget();
  await checks.check({}, "id");
  expect(launched).toHaveLength(4);
});

test("CellCheck passes on that the engine is away, and takes nothing from an image that does not start", async () => {
  unlaunchable = new AppError("engine_unavailable", "away");
  expect(checks.check({}, "id")).rejects.toThrow("away");
  unlaunchable = new AppError("entrypoint_failed", "the image has no user");
  await checks.check({}, "id");
});
