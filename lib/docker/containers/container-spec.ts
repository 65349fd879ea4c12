import { contextBytes } from "../../domain/functions/isolation.ts";
import { hasWatchdog } from "../../domain/functions/detection.ts";
import { isRoot } from "../../domain/functions/rules.ts";
import type { ContractName } from "../../domain/functions/contract.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { CONTEXT_BYTES, NOFILE, SECRETS_FILES_BYTES } from "../../domain/limits.ts";
import { type ContainerSpec, FUNCTION_LABEL, OWNER_LABEL } from "../api/containers.ts";
import { NOBODY, type NumericUser } from "./accounts.ts";
import { type ImageConfig, commandOf } from "../api/images.ts";
import { GATE_DIRECTORY, pathOf } from "../images/volumes.ts";
import { VOLUME_LABEL } from "../api/volumes.ts";

/**
 * Dropped from Docker's default capabilities, as no function needs them. Dropping all would break images whose root
 * touches files of other users.
 */
const DROPPED_CAPABILITIES = ["NET_RAW", "MKNOD", "SETFCAP", "AUDIT_WRITE"] as const;
export type DroppedCapability = (typeof DROPPED_CAPABILITIES)[number];

const NO_NEW_PRIVILEGES = ["no-new-privileges"];

/** The tmpfs with secrets that are files. */
export const SECRETS_PATH = "/run/secrets";
/** The same for images of OpenFaaS, whose functions look for theirs here. */
const WATCHDOG_SECRETS_PATH = "/var/openfaas/secrets";

/** The size of `/tmp` in AWS's sandbox; its content counts as memory here. */
const LAMBDA_TMP_BYTES = 512 * 1024 * 1024;

/** The size of `/dev/shm`, whose content counts as memory. */
export const SHM_BYTES = 64 * 1024 * 1024;

/** The parts of a container that do not come from the function's settings. */
export interface ContainerSetting {
  readonly owner: string;
  /** The image's own values, for what the function does not set. */
  readonly image: ImageConfig;
  /** The user, if it was looked up in the image. */
  readonly user?: NumericUser | undefined;
  /** The hard limit of open files that the engine allows by default. */
  readonly open_files: number;
  /** The path of the gate in the container. */
  readonly gate: string;
  /** The mount that brings the gate. */
  readonly gate_mount: Readonly<Record<string, unknown>>;
  /** The part of CONTEXT_PATH before the id. */
  readonly context_root: string;
  /** A network of the engine, or the namespace of another container of the function (`container:<id>`). */
  readonly network: string;
}

/**
 * Returns the tmpfs mounts that a function with a read-only root can write to besides the context: `/tmp`, and the image's
 * volumes, which would be directories of the host without a limit. They also count as memory.
 */
function temporaryFiles(fn: Function, image: ImageConfig): Readonly<Record<string, string>> {
  if (!fn.read_only && fn.sandbox !== "strict") return {};
  const mounted = new Set([GATE_DIRECTORY, ...fn.volumes.map(({ path }) => path)]);
  const volumes = image.volumes.map(pathOf).filter((path) => !mounted.has(path));
  const bytes =
    fn.contract === "lambda"
      ? Math.min(LAMBDA_TMP_BYTES, fn.memory_bytes)
      : Math.min(CONTEXT_BYTES, Math.floor(fn.memory_bytes / 4));
  const options = `rw,nosuid,nodev,exec,mode=1777,size=${bytes}`;
  return Object.fromEntries(["/tmp", ...volumes].map((path) => [path, options]));
}

/** Returns the limits of each process. A core dump would fill the host's disk, where no limit of ours counts it. */
function ulimits({ nofile }: Function, hard: number): readonly Readonly<Record<string, unknown>>[] {
  return [
    { Name: "nofile", Soft: nofile ?? NOFILE.soft, Hard: nofile ?? hard },
    { Name: "core", Soft: 0, Hard: 0 },
  ];
}

/** Returns the tmpfs mounts for secrets that are files. They are created with the container; the files come and go with a call. */
function secretFiles(fn: Function): Readonly<Record<string, string>> {
  if (fn.secrets.every(({ environment }) => environment !== null)) return {};
  const paths = hasWatchdog(fn) ? [SECRETS_PATH, WATCHDOG_SECRETS_PATH] : [SECRETS_PATH];
  const options = `rw,nosuid,nodev,noexec,mode=1777,size=${SECRETS_FILES_BYTES}`;
  return Object.fromEntries(paths.map((path) => [path, options]));
}

/**
 * Returns the mounts of named volumes. As with `docker run`, the engine creates a missing one, and fills an empty one with what
 * the image has at its path; but not one that the function may only read.
 */
function volumeMounts({ volumes }: Function, owner: string): readonly Readonly<Record<string, unknown>>[] {
  return volumes.map(({ name, path, read_only }) => ({
    Type: "volume",
    Source: name,
    Target: path,
    ReadOnly: read_only,
    VolumeOptions: { NoCopy: read_only, Labels: { [VOLUME_LABEL]: owner } },
  }));
}

/**
 * Returns the gate's own arguments: the contract, and what calls are meant to share, which it neither clears nor compares. `--`
 * ends them if the command could be taken for one.
 */
function gateOptions({ contract, volumes }: Function, command: readonly string[]): readonly string[] {
  const options = [...GATE_CONTRACT[contract], ...volumes.map(({ path }) => `--shared=${path}`)];
  return options.length > 0 || command[0]?.startsWith("--") ? [...options, "--"] : [];
}

/** The gate's first argument, by the contract. */
export const GATE_CONTRACT: Readonly<Record<ContractName, readonly string[]>> = {
  files: [],
  stdio: ["--stdio"],
  http: ["--boot"],
  lambda: ["--boot"],
};

/** Returns the user of the process, unless the image decides. */
function userOf({ user, sandbox }: Function, { image, user: found }: ContainerSetting): { readonly User?: string } {
  if (found !== undefined) return { User: `${found.uid}:${found.gid}` };
  if (user !== null) return { User: user };
  return sandbox === "strict" && isRoot(image.user) ? { User: `${NOBODY.uid}:${NOBODY.gid}` } : {};
}

/** Returns the restrictions of each sandbox (lib/docs/operations-and-security.md, Sandbox); `docker` leaves them to the engine. */
function restrictions({ sandbox, read_only }: Function): Readonly<Record<string, unknown>> {
  switch (sandbox) {
    case "default":
      return { CapDrop: DROPPED_CAPABILITIES, SecurityOpt: NO_NEW_PRIVILEGES, ReadonlyRootfs: read_only };
    case "strict":
      return { CapDrop: ["ALL"], SecurityOpt: NO_NEW_PRIVILEGES, ReadonlyRootfs: true };
    case "docker":
      return { ReadonlyRootfs: read_only };
  }
}

/** Returns the capabilities that a function's sandbox takes from the engine's default ones. */
export function droppedCapabilities({ sandbox }: Function): readonly DroppedCapability[] | "all" {
  return { default: DROPPED_CAPABILITIES, strict: "all" as const, docker: [] }[sandbox];
}

/** Returns the body that creates a function's container: the gate in front of the function's command, in its sandbox. */
export function containerSpec(fn: Function, setting: ContainerSetting): ContainerSpec {
  const command = commandOf(fn, setting.image);
  return {
    Image: fn.image_id,
    Entrypoint: [setting.gate, ...gateOptions(fn, command)],
    Cmd: command,
    ...userOf(fn, setting),
    ...(fn.working_dir !== null && { WorkingDir: fn.working_dir }),
    Env: Object.entries(fn.environment).map(([key, value]) => `${key}=${value}`),
    // An image's labels merge into its containers' labels; ours win.
    Labels: { ...fn.labels, [OWNER_LABEL]: setting.owner, [FUNCTION_LABEL]: fn.id },
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    // An image's health check would run in instances that only wait.
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      AutoRemove: true,
      LogConfig: { Type: "none", Config: {} },
      NetworkMode: setting.network,
      ...restrictions(fn),
      ...(setting.user && setting.user.groups.length > 0 && { GroupAdd: setting.user.groups.map(String) }),
      ...(fn.runtime !== null && { Runtime: fn.runtime }),
      Memory: fn.memory_bytes,
      MemorySwap: fn.memory_bytes,
      NanoCpus: Math.round(fn.cpus * 1e9),
      PidsLimit: fn.pids,
      // Docker's default, given because podman and a daemon's own setting differ.
      ShmSize: SHM_BYTES,
      Ulimits: ulimits(fn, setting.open_files),
      Tmpfs: {
        ...temporaryFiles(fn, setting.image),
        ...secretFiles(fn),
        // The engine's default is noexec, with which nothing that a function unpacks there can run.
        [setting.context_root]: `rw,nosuid,nodev,${fn.sandbox === "strict" ? "noexec" : "exec"},mode=1777,size=${contextBytes(fn)}`,
      },
      Mounts: [setting.gate_mount, ...volumeMounts(fn, setting.owner)],
    },
  };
}
