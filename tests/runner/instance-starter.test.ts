import { expect, test } from "bun:test";
import { createLogger } from "../../lib/log.ts";
import { Metrics } from "../../lib/metrics.ts";
import { NO_SECRETS } from "../../lib/domain/secrets.ts";
import { InstanceStarter } from "../../lib/runner/instance-starter.ts";
import type { GateFrame } from "../../lib/runner/gate-protocol/frames.ts";
import { exitFrame } from "../gate/support/gate-frames.ts";
import { FakeClock, settled } from "../support/fake-clock.ts";
import { FakeChannel, said } from "./instance/fake-channel.ts";
import { failureOf, functionOf } from "./pool/fake-instances.ts";

const READY = { type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" } as const;
const BOOTED = { type: "booted", bootUs: 1, address: "127.0.0.1", port: 8080, streams: 64 } as const;

/** Returns a starter whose instances' gates are played by the test. */
function starterOf() {
  const clock = new FakeClock();
  const channels: FakeChannel[] = [];
  const metrics = new Metrics();
  const starter = new InstanceStarter({
    platform: {
      launch: async () => {
        channels.push(new FakeChannel());
        const [channel] = channels.slice(-1);
        if (channel === undefined) throw new Error("There is no channel");
        return channel;
      },
    },
    ready_timeout_ms: 1_000,
    log_bytes: 1_000,
    secretsFor: () => NO_SECRETS,
    clock,
    log: createLogger({ level: "error", format: "json", clock, write: () => undefined }),
    metrics,
    signal: new AbortController().signal,
  });
  const say = async (...frames: readonly GateFrame[]) => {
    await settled();
    channels.at(-1)?.push(said(...frames));
  };
  return { starter, metrics, say };
}

const fn = functionOf("f", { contract: "http" });
const printed = (text: string): GateFrame => ({ type: "log", stream: "stdout", bytes: Buffer.from(text) });

test("InstanceStarter remembers what a function printed before its first call, whenever its port was open", async () => {
  const { starter, say } = starterOf();
  const started = starter.start(fn, "f@1", () => undefined);
  await say(READY, printed("starting\n"), BOOTED, printed("listening\n"));
  const instance = await started;
  const remembered = () => starter.lastBoots.of("f")?.logs.map(({ text }) => text);
  expect(remembered()?.join("")).toBe("starting\nlistening\n");
  await say(printed("ready\n"));
  expect(remembered()?.join("")).toBe("starting\nlistening\nready\n");
  instance.retire();
  expect(remembered()?.join("")).toBe("starting\nlistening\nready\n");
  expect(starter.lastBoots.of("f")?.logs).not.toContainEqual(expect.objectContaining({ boot: true }));
});

test("InstanceStarter remembers how a function booted last, and nothing of its trials", async () => {
  const { starter, metrics, say } = starterOf();
  const started = starter.start(fn, "f@1", () => undefined);
  await say(READY, BOOTED);
  const instance = await started;
  const noted = starter.lastBoots.of("f");
  expect(noted).toMatchObject({ problem: null });

  const tried = failureOf(starter.trial(fn, "trial-f"));
  await say(READY, exitFrame({ exitCode: 1 }));
  expect(await tried).toMatchObject({ reason: "boot_failed" });
  expect(starter.lastBoots.of("f")).toEqual(noted);
  expect((await metrics.render()).text).not.toContain('reason="boot_failed"');

  const failed = failureOf(starter.start(fn, "f@1", () => undefined));
  await say(READY, exitFrame({ exitCode: 1 }));
  expect(await failed).toMatchObject({ reason: "boot_failed" });
  expect(starter.lastBoots.of("f")?.problem).toContain("exited with code 1");
  expect((await metrics.render()).text).toContain('reason="boot_failed"');
  instance.retire();
});
