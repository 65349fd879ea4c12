import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { contextBytes } from "../../../lib/domain/functions/isolation.ts";
import { SANDBOXES, SETTING_DEFAULTS } from "../../../lib/domain/functions/settings.ts";
import { FUNCTION_DEFAULTS } from "../../../lib/domain/functions/functions.ts";
import { type ImageConfig, commandOf } from "../../../lib/docker/api/images.ts";
import { cellSpec } from "../../../lib/docker/containers/cells/cell-spec.ts";
import { containerSpec } from "../../../lib/docker/containers/container-spec.ts";
import { CONTAINER_FIELDS } from "../../../lib/runner/pool/compatibility.ts";
import { anySettings } from "../../support/any-settings.ts";

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
const image: ImageConfig = {
  entrypoint: ["/entry"],
  command: ["arg"],
  user: "",
  variables: {},
  exposed_ports: [],
  volumes: [],
  labels: {},
};
const setting = {
  owner: "o",
  image,
  gate: "/.slipway/gate-1",
  gate_mount: { Type: "volume", Source: "v" },
  context_root: "/tmp/context",
  open_files: 65_536,
  network: "bridge",
};

/** The spec of a function with these settings, on an image with this configuration. */
function specOf(settings: Partial<Function>, says: Partial<ImageConfig> = {}) {
  const spec = containerSpec({ ...fn, ...settings }, { ...setting, image: { ...image, ...says } });
  return { ...spec, HostConfig: spec["HostConfig"] as Record<string, unknown> }; // an object, by the engine's API
}

test("containerSpec puts the gate before the image's command, by its id and with the function's settings", () => {
  expect(specOf({})).toMatchObject({
    Image: "sha256:1",
    Entrypoint: ["/.slipway/gate-1"],
    Cmd: ["/entry", "arg"],
    Env: ["A=1", "B=two\nlines", "C="],
    Labels: { "slipway.owner": "o", "slipway.function": "f" },
    HostConfig: { Memory: 256 * MIB, MemorySwap: 256 * MIB, NanoCpus: 500_000_000, PidsLimit: 7 },
  });
});

test("containerSpec keeps the container in its sandbox, and tied to its stream", () => {
  const spec = specOf({});
  expect(spec).toMatchObject({ OpenStdin: true, StdinOnce: true, Tty: false, Healthcheck: { Test: ["NONE"] } });
  expect(spec.HostConfig).toMatchObject({
    AutoRemove: true,
    LogConfig: { Type: "none" },
    NetworkMode: "bridge",
    ReadonlyRootfs: false,
    CapDrop: ["NET_RAW", "MKNOD", "SETFCAP", "AUDIT_WRITE"],
    SecurityOpt: ["no-new-privileges"],
    Tmpfs: { "/tmp/context": `rw,nosuid,nodev,exec,mode=1777,size=${64 * MIB}` },
    Mounts: [setting.gate_mount],
  });
  // The user and directory of the image apply, and the runtime of the engine.
  for (const absent of ["User", "WorkingDir"]) expect(spec).not.toHaveProperty(absent);
  expect(spec.HostConfig).not.toHaveProperty("Runtime");
});

test.each<[Partial<Function>, readonly string[]]>([
  [{}, ["/entry", "arg"]],
  [{ command: ["other", ""] }, ["/entry", "other", ""]],
  [{ command: [] }, ["/entry"]],
  [{ entrypoint: ["sh", "-c"] }, ["sh", "-c"]],
  [{ entrypoint: ["sh", "-c"], command: ["true"] }, ["sh", "-c", "true"]],
  [{ entrypoint: [], command: ["true"] }, ["true"]],
  [{ entrypoint: [] }, []],
])("commandOf treats %j as docker run does", (own, expected) => {
  expect(commandOf(own, image)).toEqual(expected);
});

test("containerSpec has the function's user, directory, runtime and labels; our labels win", () => {
  const labels = { team: "checkout", "slipway.owner": "someone" };
  const spec = specOf({ user: "7:8", working_dir: "/app", runtime: "runsc", labels, context_bytes: 5 * MIB });
  expect(spec).toMatchObject({
    User: "7:8",
    WorkingDir: "/app",
    Labels: { team: "checkout", "slipway.owner": "o", "slipway.function": "f" },
    HostConfig: { Runtime: "runsc", Tmpfs: { "/tmp/context": `rw,nosuid,nodev,exec,mode=1777,size=${5 * MIB}` } },
  });
});

test.each([
  [null, 1024, 65_536],
  [64, 64, 64],
  [100_000, 100_000, 100_000],
])(
  "containerSpec limits open files for a `nofile` of %p to %i, hard %i, and makes no core dumps",
  (nofile, Soft, Hard) => {
    for (const sandbox of SANDBOXES) {
      expect(specOf({ nofile, sandbox }).HostConfig["Ulimits"]).toEqual([
        { Name: "nofile", Soft, Hard },
        { Name: "core", Soft: 0, Hard: 0 },
      ]);
    }
  },
);

test("containerSpec of the sandbox `docker` leaves capabilities and privileges to the engine, and keeps the limits", () => {
  const { HostConfig } = specOf({ sandbox: "docker" });
  for (const absent of ["CapDrop", "CapAdd", "SecurityOpt"]) expect(HostConfig).not.toHaveProperty(absent);
  expect(HostConfig).toMatchObject({ Memory: 256 * MIB, PidsLimit: 7, ReadonlyRootfs: false });
});

describe("containerSpec of the sandbox `strict`", () => {
  const strict = { sandbox: "strict", network: "none", read_only: true } as const;

  test("drops every capability and mounts the root read-only", () => {
    expect(specOf(strict).HostConfig).toMatchObject({
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
    });
  });

  test("runs a user that was looked up by numbers alone, with his groups", () => {
    const found = { uid: 12, gid: 13, groups: [14, 15] };
    const spec = containerSpec({ ...fn, ...strict, user: "app" }, { ...setting, user: found });
    expect(spec).toMatchObject({ User: "12:13", HostConfig: { GroupAdd: ["14", "15"] } });
    const alone = containerSpec({ ...fn, ...strict }, { ...setting, user: { ...found, groups: [] } });
    expect(alone["HostConfig"]).not.toHaveProperty("GroupAdd");
  });

  test.each([
    ["", null, "65534:65534"],
    ["root", null, "65534:65534"],
    ["0:1000", null, "65534:65534"],
    ["00", null, "65534:65534"],
    ["nonroot", null, undefined],
    ["1000", null, undefined],
    ["", "1000:0", "1000:0"],
    ["nonroot", "12", "12"],
  ])("runs an image whose USER is %j, with the user %j, as %j", (ofImage, user, expected) => {
    expect((specOf({ ...strict, user }, { user: ofImage }) as { User?: string }).User).toBe(expected);
  });

  test("replaces each volume with a sized tmpfs, except ours", () => {
    const volumes = ["/data", "/data/", "/cache/../var/cache", "relative/", "/.slipway", "/tmp", "/tmp/context"];
    const { Tmpfs } = specOf({ ...strict, memory_bytes: 64 * MIB }, { volumes }).HostConfig;
    const options = `rw,nosuid,nodev,exec,mode=1777,size=${16 * MIB}`;
    expect(Tmpfs).toEqual({
      "/data": options,
      "/var/cache": options,
      "/relative": options,
      "/tmp": options,
      "/tmp/context": `rw,nosuid,nodev,noexec,mode=1777,size=${32 * MIB}`,
    });
    // A read-only root would be none where the image may write to a volume (EDGE C3).
    expect(specOf({ read_only: true, memory_bytes: 64 * MIB }, { volumes }).HostConfig["Tmpfs"]).toMatchObject({
      "/data": options,
      "/relative": options,
    });
    expect(specOf({}, { volumes }).HostConfig["Tmpfs"]).not.toHaveProperty("/data");
  });
});

/** Fields that would let a function escape, or loosen its limits. */
const FORBIDDEN = [
  "Privileged",
  "Binds",
  "CapAdd",
  "Devices",
  "DeviceRequests",
  "DeviceCgroupRules",
  "PidMode",
  "IpcMode",
  "UTSMode",
  "UsernsMode",
  "CgroupnsMode",
  "CgroupParent",
  "VolumesFrom",
  "PortBindings",
  "PublishAllPorts",
  "GroupAdd",
  "Sysctls",
  "OomKillDisable",
  "MaskedPaths",
  "ReadonlyPaths",
  "RestartPolicy",
  "Links",
];

test("containerSpec never lets a function escape, for any settings and any image", () => {
  const says = fc.record({
    entrypoint: fc.array(fc.string()),
    command: fc.array(fc.string()),
    user: fc.oneof(fc.string(), fc.constantFrom("", "0", "root", "0:0", "root:root", "00", "0:1000")),
    volumes: fc.array(fc.constantFrom("/data", "/.slipway", "/.slipway/", "/tmp", "/tmp/context/", "/run/secrets")),
  });
  fc.assert(
    fc.property(anySettings, says, (settings, from) => {
      const spec = specOf(settings, from);
      const { HostConfig } = spec;
      for (const name of FORBIDDEN) expect(HostConfig).not.toHaveProperty(name);
      expect(spec).not.toHaveProperty("ExposedPorts");
      expect(spec).not.toHaveProperty("Volumes");
      const shared = settings.volumes.map(({ path }) => `--shared=${path}`);
      const isOption = commandOf(settings, { ...image, ...from })[0]?.startsWith("--") ?? false;
      const own = [
        ...{ files: [], stdio: ["--stdio"], http: ["--boot"], lambda: ["--boot"] }[settings.contract],
        ...shared,
      ];
      const options = own.length > 0 || isOption ? [...own, "--"] : [];
      expect(spec).toMatchObject({
        Entrypoint: [setting.gate, ...options],
        OpenStdin: true,
        StdinOnce: true,
        Tty: false,
      });
      expect(spec).toMatchObject({ Labels: { "slipway.owner": "o", "slipway.function": "f" } });
      expect(HostConfig).toMatchObject({
        AutoRemove: true,
        LogConfig: { Type: "none" },
        Memory: settings.memory_bytes,
        MemorySwap: settings.memory_bytes,
        PidsLimit: settings.pids,
        NetworkMode: "bridge",
      });
      const mounts = HostConfig["Mounts"] as readonly Readonly<Record<string, unknown>>[]; // as above
      expect(mounts[0]).toEqual(setting.gate_mount);
      expect(mounts.length).toBe(1 + settings.volumes.length);
      for (const { Type, Source, Target, ReadOnly } of mounts.slice(1)) {
        expect([Type, ["models", "cache"].includes(String(Source))]).toEqual(["volume", true]);
        // An engine refuses two mounts at one path.
        expect(Object.keys(HostConfig["Tmpfs"] as object)).not.toContain(Target);
        if (settings.sandbox === "strict") expect(ReadOnly).toBe(true);
      }
      expect(Object.keys(HostConfig["Tmpfs"] as object)).not.toContain("/.slipway");
      for (const options of Object.values(HostConfig["Tmpfs"] as object)) expect(options).toMatch(/,size=\d+$/);
      if (settings.sandbox !== "docker") expect(HostConfig["SecurityOpt"]).toEqual(["no-new-privileges"]);
      if (settings.sandbox === "strict") expect(HostConfig).toMatchObject({ CapDrop: ["ALL"], ReadonlyRootfs: true });
      // Any other user is looked up before the start.
      const saysRoot = settings.user === null && /^(?:|0+|root)(?::.*)?$/.test(from.user);
      if (settings.sandbox === "strict" && saysRoot) expect(spec).toMatchObject({ User: "65534:65534" });
    }),
  );
});

// Issue 10, C: named volumes
test("containerSpec mounts named volumes, also in place of the image's, and tells the gate where they are", () => {
  const volumes = [
    { name: "models", path: "/models", read_only: true },
    { name: "cache", path: "/var/cache/x", read_only: false },
  ];
  const spec = specOf({ volumes, read_only: true }, { volumes: ["models/", "/data"] });
  expect(spec).toMatchObject({
    Entrypoint: [setting.gate, "--shared=/models", "--shared=/var/cache/x", "--"],
    Cmd: ["/entry", "arg"],
  });
  const Labels = { "slipway.volume": "o" };
  expect(spec.HostConfig["Mounts"]).toEqual([
    setting.gate_mount,
    { Type: "volume", Source: "models", Target: "/models", ReadOnly: true, VolumeOptions: { NoCopy: true, Labels } },
    {
      Type: "volume",
      Source: "cache",
      Target: "/var/cache/x",
      ReadOnly: false,
      VolumeOptions: { NoCopy: false, Labels },
    },
  ]);
  expect(Object.keys(spec.HostConfig["Tmpfs"] as object)).toEqual(["/tmp", "/data", "/tmp/context"]);
});

test("containerSpec and cellSpec tell the gate of the contract first", () => {
  const stdio = { contract: "stdio" } as const;
  const volumes = [{ name: "models", path: "/models", read_only: true }];
  expect(specOf(stdio)).toMatchObject({ Entrypoint: [setting.gate, "--stdio", "--"], Cmd: ["/entry", "arg"] });
  expect(specOf({ ...stdio, volumes })).toMatchObject({
    Entrypoint: [setting.gate, "--stdio", "--shared=/models", "--"],
  });
  const user = { uid: 1, gid: 2, groups: [], home: "/" };
  const cells = { user, image: setting.image, context_root: "/tmp/context", dropped: "all" } as const;
  const { Entrypoint } = cellSpec({ ...fn, ...stdio, isolation: "cell" }, cells, specOf(stdio));
  expect(Entrypoint).toEqual(expect.arrayContaining([expect.stringMatching(/^--cell=/)]));
  expect(Entrypoint).toMatchObject({ 0: setting.gate, 1: "--stdio" });
});

test("containerSpec keeps the gate from taking a command for its own options", () => {
  expect(specOf({ entrypoint: ["--shared=/data", "x"] })).toMatchObject({
    Entrypoint: [setting.gate, "--"],
    Cmd: ["--shared=/data", "x"],
  });
});

test("containerSpec mounts a tmpfs for secrets if some are files, and contains none of them", () => {
  const asFile = { name: "one", environment: null };
  const asVariable = { name: "two", environment: "TWO" };
  const mountOf = (settings: Partial<Function>) => {
    const mounts: unknown = specOf(settings).HostConfig["Tmpfs"];
    return Object.entries(mounts ?? {}).find(([path]) => path === "/run/secrets")?.[1];
  };
  const mount = "rw,nosuid,nodev,noexec,mode=1777,size=786432";
  expect(mountOf({ secrets: [asVariable, asFile] })).toBe(mount);
  expect(mountOf({ secrets: [asFile], read_only: true, sandbox: "strict" })).toBe(mount);
  expect([mountOf({ secrets: [asVariable] }), mountOf({})]).toEqual([undefined, undefined]);
  expect(JSON.stringify(specOf({ secrets: [asVariable, asFile] }))).not.toContain("TWO");
});

test("every setting that a container is made from makes new instances when it changes", () => {
  const shape: readonly string[] = CONTAINER_FIELDS;
  for (const sandbox of SANDBOXES) {
    const before = specOf({ ...SETTING_DEFAULTS, sandbox });
    fc.assert(
      fc.property(anySettings, (settings) => {
        const kept = Object.entries(settings).filter(([name]) => !shape.includes(name));
        expect(specOf({ ...SETTING_DEFAULTS, ...Object.fromEntries(kept), sandbox })).toEqual(before);
      }),
    );
  }
});

test.each([
  [16 * MIB, null, 8 * MIB],
  [128 * MIB, null, 64 * MIB],
  [1024 * MIB, null, 64 * MIB],
  [33_333_333, null, 16_666_666],
  [33_333_333, 33_333_332, 33_333_332],
])(
  "contextBytes leaves a function of %d bytes some memory besides its context of %j",
  (memory_bytes, own, expected) => {
    expect(contextBytes({ memory_bytes, context_bytes: own })).toBe(expected);
  },
);
