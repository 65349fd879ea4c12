import { expect, test } from "bun:test";
import type { Settings } from "../../../lib/domain/functions/settings.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { SettingsCheck } from "../../../lib/docker/containers/settings-check.ts";
import { systemClock } from "../../../lib/clock.ts";
import { Metrics } from "../../../lib/metrics.ts";

const network = { Scope: "local", Attachable: false, Ingress: false, ConfigOnly: false };

/** As the engine lists them, some of kinds that take a swarm or several machines to have. */
const NETWORKS: readonly object[] = [
  { ...network, Name: "bridge", Driver: "bridge" },
  { ...network, Name: "host", Driver: "host" },
  { ...network, Name: "none", Driver: "null" },
  { ...network, Name: "second-host", Driver: "host" },
  { ...network, Name: "mine", Driver: "bridge" },
  { ...network, Name: "slipway-isolated-o", Driver: "bridge", Labels: { "slipway.owner": "o" } },
  { ...network, Name: "wire", Driver: "macvlan" },
  { ...network, Name: "ingress", Driver: "overlay", Scope: "swarm", Ingress: true },
  { ...network, Name: "config", Driver: "null", ConfigOnly: true },
  { ...network, Name: "services", Driver: "overlay", Scope: "swarm" },
  { ...network, Name: "open", Driver: "overlay", Scope: "swarm", Attachable: true },
  // Podman's list says less.
  { Name: "podman", Driver: "bridge" },
];
const INFO: object = { Architecture: "x86_64", NCPU: 2, MemTotal: 1e9, Runtimes: { runc: {}, runsc: {} } };

const OWN = { gate_volume: "gates", context_root: "/ctx/own" };
/** Volumes as the engine inspects them. */
const VOLUMES: Readonly<Record<string, object>> = {
  plain: { Labels: null, Options: null },
  named: { Labels: { "slipway.volume": "o", team: "a" }, Options: {} },
  quota: { Labels: {}, Options: { size: "10G", o: "size=10G,uid=5" } },
  sshfs: { Driver: "sshfs", Options: { sshcmd: "user@host:/data" } },
  bind: { Options: { type: "none", o: "bind", device: "/etc" } },
  binds: { Options: { type: "none", o: "ro, RBIND" } },
  disk: { Options: { type: "ext4", Device: "sda1" } },
  persist: { Driver: "local-persist", Options: { mountpoint: " /data" } },
  gate: { Labels: { "slipway.gate": "other" }, Options: null },
  anonymous: { Labels: { "com.docker.volume.anonymous": "" }, Options: null },
  // Podman finds a volume by the beginning of its name.
  pre: { Name: "prefix", Options: { device: "/etc" } },
  senseless: { Options: { device: 5 } },
};

function volumeNamed(name: string, status: number): Response {
  const found = VOLUMES[name];
  if (found === undefined) return Response.json({ message: `no such volume: ${name}` }, { status: 404 });
  return Response.json({ Name: name, Driver: "local", Mountpoint: `/volumes/${name}/_data`, ...found }, { status });
}

const volumesOf = (name: string, path = "/v"): Partial<Settings> => ({ volumes: [{ name, path, read_only: true }] });

/** Checks settings with an engine that answers with these; returns the problem and the requested paths. */
async function check(
  settings: Partial<Settings>,
  { networks = NETWORKS, info = INFO, status = 200, podman = false } = {},
): Promise<{ problem: unknown; asked: string[] }> {
  const asked: string[] = [];
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const { pathname } = new URL(request.url);
      const path = pathname.replace(/^\/v1\.\d+/, "");
      if (path === "/_ping")
        return new Response("OK", {
          headers: { "Api-Version": "1.41", ...(podman && { "Libpod-Api-Version": "4.3.1" }) },
        });
      asked.push(path);
      if (path.startsWith("/volumes/")) return volumeNamed(path.slice("/volumes/".length), status);
      return Response.json(path === "/networks" ? networks : info, { status });
    },
  });
  using connection = new EngineConnection({
    address: { host: "127.0.0.1", port: server.port ?? 0 },
    timeout_ms: 5_000,
    clock: systemClock,
    metrics: new Metrics(),
  });
  // As the server does when it connects.
  if (podman) await connection.negotiate();
  const problem = await new SettingsCheck(connection, OWN).check(settings).catch((error: unknown) => error);
  return { problem, asked };
}

test.each<Partial<Settings>>([
  {},
  { network: "bridge" },
  { network: "none" },
  { network: "isolated" }, // EDGE C6
  { cpus: 1, memory_bytes: 268_435_456, runtime: null, sandbox: "strict" },
])("SettingsCheck asks the engine nothing about %j", async (settings) => {
  expect(await check(settings)).toEqual({ problem: undefined, asked: [] });
});

test.each<Partial<Settings>>([
  ...["mine", "wire", "open", "podman"].map((name) => ({ network: name })),
  { runtime: "runsc" },
  { cpus: 2, memory_bytes: 1e9 },
])("SettingsCheck finds that the engine has %j", async (settings) => {
  const { problem, asked } = await check(settings);
  expect([problem, asked.length]).toEqual([undefined, 1]);
});

test.each<[Partial<Settings>, string]>([
  [{ network: "second-host" }, 'A function cannot join the network "second-host": it has the driver "host"'],
  [{ network: "ingress" }, 'A function cannot join the network "ingress": it is a swarm\'s ingress network'],
  [
    { network: "slipway-isolated-o" },
    'A function cannot join the network "slipway-isolated-o": it is what "isolated" stands for, and comes and goes: give that',
  ],
  [{ network: "config" }, 'A function cannot join the network "config": it has the driver "null"'],
  [
    { network: "services" },
    'A function cannot join the network "services": it is a swarm network that containers cannot join: create it with --attachable',
  ],
  [
    { network: "Mine" },
    'The engine has no network "Mine", but "bridge", "isolated", "none", "mine", "wire", "open", "podman": use one of these, or create it with `docker network create`',
  ],
  [
    { runtime: "kata" },
    'The engine has no runtime "kata", but "runc", "runsc": use one of these, or add it to the engine\'s configuration',
  ],
  [{ cpus: 2.5 }, '"cpus" is 2.5, and the engine\'s machine has 2: lower it'],
  [{ memory_bytes: 1e9 + 1 }, '"memory_bytes" is 1000000001, and the engine\'s machine has 1000000000: lower it'],
])("SettingsCheck refuses %j: %s", async (settings, message) => {
  expect((await check(settings)).problem).toMatchObject({ reason: "invalid_request", message });
});

// EDGE C6: Podman leaves out the option that keeps containers apart.
test("SettingsCheck refuses `isolated` on Podman, and says what to use", async () => {
  const { problem } = await check({ network: "isolated" }, { podman: true });
  expect(problem).toMatchObject({
    reason: "invalid_request",
    message: expect.stringMatching(/^Podman has no network that is "isolated": .*; use "none", or "bridge"/),
  });
  expect(await check({ network: "mine" }, { podman: true })).toMatchObject({ problem: undefined });
});

test("SettingsCheck lists a few of many networks", async () => {
  const networks = Array.from({ length: 100 }, (_, i) => ({ ...network, Name: `n${i}`, Driver: "bridge" }));
  const { problem } = await check({ network: "other" }, { networks });
  expect(problem).toMatchObject({ message: expect.stringContaining('"n16" and 83 more: use one of these') });
});

test.each([
  [{ network: "mine" }, { status: 500 }],
  [{ runtime: "runc" }, { status: 500 }],
  [{ runtime: "runc" }, { info: {} }],
  [{ network: "mine" }, { networks: [{ Name: 5 }] }],
])("SettingsCheck of %j answers 503 if the engine makes no sense (%j)", async (settings, answers) => {
  expect((await check(settings, answers)).problem).toMatchObject({ reason: "engine_unavailable" });
});

// Issue 10, C: named volumes
test.each(["plain", "named", "quota", "sshfs", "missing", "pre"])(
  "SettingsCheck lets a function have the volume %j",
  async (name) => {
    expect(await check(volumesOf(name))).toEqual({ problem: undefined, asked: [`/volumes/${name}`] });
  },
);

const HOST = "its driver's options name a device or a path, which may be the host's";

test.each([
  ["bind", HOST],
  ["binds", HOST],
  ["disk", HOST],
  ["persist", HOST],
  ["gate", 'its label "slipway.gate" says that it is Slipway\'s own'],
  ["gates", "it brings Slipway's own program into containers"],
  ["anonymous", "the engine made it for one container, and removes it with that"],
])("SettingsCheck refuses the volume %j: %s", async (name, why) => {
  const { problem } = await check({
    volumes: [...(volumesOf("plain").volumes ?? []), { name, path: "/w", read_only: false }],
  });
  const message = `Invalid "volumes": a function cannot have the volume "${name}": ${why}: name another volume`;
  expect(problem).toMatchObject({ reason: "invalid_request", message });
});

test.each(["/.slipway", "/.slipway/x", "/ctx", "/ctx/own", "/ctx/own/x"])(
  "SettingsCheck refuses a volume at %j, where Slipway's own mounts are, and asks nobody",
  async (path) => {
    const { problem, asked } = await check(volumesOf("plain", path));
    expect(problem).toMatchObject({
      reason: "invalid_request",
      message: expect.stringContaining("which Slipway uses itself"),
    });
    expect(asked).toEqual([]);
  },
);

test("SettingsCheck takes a volume beside Slipway's own mounts", async () => {
  for (const path of ["/.slipway2", "/ctx/owner", "/ctx/other"])
    expect((await check(volumesOf("plain", path))).problem).toBeUndefined();
});

test("SettingsCheck of volumes answers 503 if the engine makes no sense", async () => {
  for (const [name, status] of [
    ["plain", 500],
    ["senseless", 200],
  ] as const)
    expect((await check(volumesOf(name), { status })).problem).toMatchObject({ reason: "engine_unavailable" });
});
