import { expect, test } from "bun:test";
import type { Function } from "../../lib/domain/functions.ts";
import { FUNCTION_DEFAULTS } from "../../lib/domain/functions.ts";
import { containerSpec, contextBytes } from "../../lib/runner/container-spec.ts";

const MIB = 1024 * 1024;

const fn: Function = {
  ...FUNCTION_DEFAULTS,
  id: "f",
  image: "x:1",
  image_id: "sha256:1",
  digest: null,
  environment: { A: "1", B: "two\nlines", C: "" },
  cpus: 0.5,
  pids: 7,
  created_at: "",
  updated_at: "",
};
const setting = {
  owner: "o",
  command: ["/entry", "arg"],
  gate: "/.slipway/gate-1",
  gate_mount: { Type: "volume", Source: "v" },
  context_root: "/tmp/context",
  network: "bridge",
};

test("containerSpec puts the gate before the image's command, by its id and with the function's settings", () => {
  expect(containerSpec(fn, setting)).toMatchObject({
    Image: "sha256:1",
    Entrypoint: ["/.slipway/gate-1"],
    Cmd: ["/entry", "arg"],
    Env: ["A=1", "B=two\nlines", "C="],
    Labels: { "slipway.owner": "o", "slipway.function": "f" },
    HostConfig: { Memory: 256 * MIB, MemorySwap: 256 * MIB, NanoCpus: 500_000_000, PidsLimit: 7 },
  });
});

test("containerSpec keeps the container in its sandbox, and tied to its stream", () => {
  const spec = containerSpec(fn, setting);
  expect(spec).toMatchObject({ OpenStdin: true, StdinOnce: true, Tty: false, Healthcheck: { Test: ["NONE"] } });
  expect(spec["HostConfig"]).toMatchObject({
    AutoRemove: true,
    LogConfig: { Type: "none" },
    NetworkMode: "bridge",
    CapDrop: ["NET_RAW", "MKNOD", "SETFCAP", "AUDIT_WRITE"],
    SecurityOpt: ["no-new-privileges"],
    Tmpfs: { "/tmp/context": `rw,nosuid,nodev,mode=1777,size=${64 * MIB}` },
    Mounts: [setting.gate_mount],
  });
  for (const forbidden of ["Privileged", "Binds", "CapAdd", "Devices", "PidMode", "IpcMode", "UsernsMode"]) {
    expect(spec["HostConfig"]).not.toHaveProperty(forbidden);
  }
  // The image's own user and directory apply.
  expect(spec).not.toHaveProperty("User");
  expect(spec).not.toHaveProperty("WorkingDir");
});

test.each([
  [16 * MIB, 8 * MIB],
  [128 * MIB, 64 * MIB],
  [1024 * MIB, 64 * MIB],
  [33_333_333, 16_666_666],
])("contextBytes leaves a function of %d bytes some memory beside its context", (memory_bytes, expected) => {
  expect(contextBytes({ memory_bytes })).toBe(expected);
});
