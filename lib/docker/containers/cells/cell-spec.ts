import { posix } from "node:path";
import { contextBytes, gateReserve, scratchBytes } from "../../../domain/functions/isolation.ts";
import type { Function } from "../../../domain/functions/functions.ts";
import { CELL_DEV_SHARE, CONTEXT_BYTES, SECRETS_FILES_BYTES } from "../../../domain/limits.ts";
import type { ContainerSpec } from "../../api/containers.ts";
import type { ImageConfig } from "../../api/images.ts";
import { GATE_DIRECTORY, pathOf } from "../../images/volumes.ts";
import { type DroppedCapability, GATE_CONTRACT, SECRETS_PATH, SHM_BYTES } from "../container-spec.ts";
import type { CellUser } from "./cell-users.ts";

/** The parts of a function's cells that are not in its container. */
export interface CellSetting {
  readonly user: CellUser;
  readonly image: ImageConfig;
  /** The part of CONTEXT_PATH before the id. */
  readonly context_root: string;
  /** The capabilities that the function does not have of the engine's default ones, or all. */
  readonly dropped: readonly DroppedCapability[] | "all";
}

/** The numbers of the capabilities that are named here (linux/capability.h). */
const CAPABILITIES: Readonly<Record<DroppedCapability | "SYS_ADMIN", number>> = {
  NET_RAW: 13,
  SYS_ADMIN: 21,
  MKNOD: 27,
  AUDIT_WRITE: 29,
  SETFCAP: 31,
};

/**
 * The capabilities of the gate. SYS_ADMIN is for the namespaces and mounts, MKNOD for the cell's devices, and SYS_CHROOT, SETPCAP,
 * SETUID, SETGID and KILL for the function's process. An overlay acts with the capabilities of the process that mounted it, so
 * the gate needs those that let a user change files of its own, also those that carry capabilities.
 */
const GATE_CAPABILITIES = [
  "SYS_ADMIN",
  "SYS_CHROOT",
  "SETPCAP",
  "SETUID",
  "SETGID",
  "KILL",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "SETFCAP",
  "MKNOD",
];

/** Room among the processes for the gate's helpers: the first process of a cell, and the two of each of two that wait. */
const OWN_PIDS = 5;
/** The least size of a tmpfs; with 0 it would have no limit. */
const LEAST_BYTES = 64 * 1024;
/** The bytes of a tmpfs for each file that it may hold: an empty one takes some 2 KiB of memory, its overlay included. */
const BYTES_PER_FILE = 8192;
const LEAST_FILES = 256;
/** The scratch space of a read-only root holds copies of a few files of the engine's. */
const READ_ONLY_SCRATCH_BYTES = 1024 * 1024;

/**
 * Returns the container whose gate makes the function's cells, from the one that the function would have itself. The gate
 * runs as root, with what making a cell takes; the function gets the user, the capabilities and the mounts that it has in a
 * container.
 */
export function cellSpec(fn: Function, setting: CellSetting, spec: ContainerSpec): ContainerSpec {
  const { Entrypoint, Env, HostConfig, ...others } = spec;
  const host = HostConfig as HostConfig; // written by containerSpec
  const [gate = ""] = Entrypoint as readonly string[]; // the same
  const { GroupAdd: _groups, ...ofHost } = host;
  const readOnly = host.ReadonlyRootfs;
  const hidden = readOnly ? [] : setting.image.volumes.map(pathOf);
  const ofOwnSize = (path: string) => path === setting.context_root || path === SECRETS_PATH;
  const paths = Object.keys(host.Tmpfs);
  const sizes = sizesOf(fn, readOnly, {
    secrets: paths.includes(SECRETS_PATH) ? SECRETS_FILES_BYTES : 0,
    mounts: paths.filter((path) => !ofOwnSize(path)).length,
  });
  return {
    ...others,
    Entrypoint: [gate, ...gateOptions(fn, setting, sizes.scratch, hidden), "--"],
    User: "0:0",
    Env: withHome(Env as readonly string[], fn, setting),
    HostConfig: {
      ...ofHost,
      CapDrop: host.CapDrop?.includes("ALL") === true ? ["ALL"] : [],
      CapAdd: GATE_CAPABILITIES,
      // The function enters the engine's profile at its exec; the profile would not let the gate mount.
      SecurityOpt: [...(host.SecurityOpt ?? []), "apparmor=unconfined"],
      PidsLimit: host.PidsLimit + OWN_PIDS,
      ShmSize: sizes.shm,
      Tmpfs: {
        ...Object.fromEntries(Object.entries(host.Tmpfs).map(([path, options]) => [path, bounded(path, options)])),
        // In place of volumes, which the engine would make of the host's disk, and which no cell shows.
        ...Object.fromEntries(hidden.map((path) => [path, `size=${LEAST_BYTES}`])),
      },
    },
  };

  function bounded(path: string, options: string): string {
    const bytes = Number(/size=(\d+)/.exec(options)?.[1]);
    const size = ofOwnSize(path) ? bytes : Math.min(bytes, sizes.temporary);
    return `${options.replace(/size=\d+/, `size=${size}`)},nr_inodes=${filesIn(size)}`;
  }
}

/** The parts of a container's HostConfig that differ with cells. */
interface HostConfig {
  readonly CapDrop?: readonly string[];
  readonly SecurityOpt?: readonly string[];
  readonly GroupAdd?: readonly string[];
  readonly ReadonlyRootfs: boolean;
  readonly PidsLimit: number;
  readonly Tmpfs: Readonly<Record<string, string>>;
}

/**
 * Returns the sizes of what a function can write to, in bytes: together with its context and the gate they are below the
 * memory, so that a full one is the function's own mistake, and never ends the gate.
 */
function sizesOf(fn: Function, readOnly: boolean, { secrets, mounts }: Record<"secrets" | "mounts", number>) {
  const { memory_bytes } = fn;
  const scratch = readOnly ? READ_ONLY_SCRATCH_BYTES : scratchBytes(fn);
  const dev = Math.floor(scratch / CELL_DEV_SHARE); // as the gate gives it
  const rest = memory_bytes - contextBytes(fn) - secrets - scratch - dev - gateReserve(memory_bytes);
  // Without other mounts, the memory of a function by default has room for as much as a container gives.
  const shm = clamp(mounts === 0 ? rest : Math.floor(rest / 2), SHM_BYTES);
  const temporary = clamp(Math.floor((rest - shm) / Math.max(1, mounts)), CONTEXT_BYTES);
  return { scratch, shm, temporary };
}

function clamp(bytes: number, most: number): number {
  return Math.min(most, Math.max(LEAST_BYTES, bytes));
}

function filesIn(bytes: number): number {
  return Math.max(LEAST_FILES, Math.floor(bytes / BYTES_PER_FILE));
}

/** Returns the gate's options (lib/gate/cell/options.c). */
function gateOptions(fn: Function, setting: CellSetting, scratch: number, hidden: readonly string[]): string[] {
  const { uid, gid, groups } = setting.user;
  return [
    ...GATE_CONTRACT[fn.contract],
    `--cell=${scratch}`,
    `--context=${setting.context_root}`,
    `--user=${[uid, gid, ...groups].join(":")}`,
    `--drop=${maskOf(setting.dropped)}`,
    ...(fn.share_network ? ["--network=shared"] : []),
    ...fn.volumes.map(({ path }) => `--shared=${path}`),
    ...[GATE_DIRECTORY, ...hidden].map((path) => `--without=${posix.normalize(path)}`),
  ];
}

/** Returns the capabilities that the function does not get, as the hexadecimal digits of their bits. */
function maskOf(dropped: CellSetting["dropped"]): string {
  if (dropped === "all") return "ffffffffffffffff";
  const bits = (["SYS_ADMIN", ...dropped] as const).map((name) => 1n << BigInt(CAPABILITIES[name]));
  return bits.reduce((mask, bit) => mask | bit, 0n).toString(16);
}

/** Returns the variables with HOME: the engine would set that of the gate's user. */
function withHome(env: readonly string[], fn: Function, { image, user }: CellSetting): readonly string[] {
  return image.sets_home === true || fn.environment["HOME"] !== undefined ? env : [...env, `HOME=${user.home}`];
}
