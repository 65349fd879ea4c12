import type { Function } from "../domain/functions.ts";
import { CONTEXT_BYTES, NOFILE } from "../domain/limits.ts";
import { type ContainerSpec, FUNCTION_LABEL, OWNER_LABEL } from "../engine/containers.ts";

/**
 * Docker's default capabilities less those that no function needs. Dropping all would break images whose root
 * touches files of other users.
 */
const DROPPED_CAPABILITIES = ["NET_RAW", "MKNOD", "SETFCAP", "AUDIT_WRITE"];

/** The size of `/dev/shm`: what is in there counts as memory. */
const SHM_BYTES = 64 * 1024 * 1024;

/** What a container needs beside the function's own settings. */
export interface ContainerSetting {
  readonly owner: string;
  /** The image's own entrypoint and command. */
  readonly command: readonly string[];
  /** Path of the gate in the container. */
  readonly gate: string;
  /** The mount that brings the gate. */
  readonly gate_mount: Readonly<Record<string, unknown>>;
  /** The part of CONTEXT_PATH before the id. */
  readonly context_root: string;
  /** `bridge`, or the network namespace of another container (`container:<id>`). */
  readonly network: string;
}

/** The size of a function's context: it counts as memory, so it must leave some. */
export function contextBytes({ memory_bytes }: Pick<Function, "memory_bytes">): number {
  return Math.min(CONTEXT_BYTES, Math.floor(memory_bytes / 2));
}

/** What a read-only root leaves to write to beside the context; it counts as memory too. */
function temporaryFiles({ read_only, memory_bytes }: Function): Readonly<Record<string, string>> {
  if (!read_only) return {};
  return { "/tmp": `rw,nosuid,nodev,exec,mode=1777,size=${Math.min(CONTEXT_BYTES, Math.floor(memory_bytes / 4))}` };
}

/** The body that creates a function's container: the gate in front of the image's command, in the sandbox of DESIGN.md section 7. */
export function containerSpec(fn: Function, setting: ContainerSetting): ContainerSpec {
  return {
    Image: fn.image_id,
    Entrypoint: [setting.gate],
    Cmd: setting.command,
    Env: Object.entries(fn.environment).map(([key, value]) => `${key}=${value}`),
    // An image's labels merge into its containers' labels; ours win.
    Labels: { [OWNER_LABEL]: setting.owner, [FUNCTION_LABEL]: fn.id },
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
      ReadonlyRootfs: fn.read_only,
      Memory: fn.memory_bytes,
      MemorySwap: fn.memory_bytes,
      NanoCpus: Math.round(fn.cpus * 1e9),
      PidsLimit: fn.pids,
      // Docker's default, said because podman and a daemon's own setting differ.
      ShmSize: SHM_BYTES,
      Ulimits: [{ Name: "nofile", Soft: NOFILE, Hard: NOFILE }],
      CapDrop: DROPPED_CAPABILITIES,
      SecurityOpt: ["no-new-privileges"],
      Tmpfs: { ...temporaryFiles(fn), [setting.context_root]: `rw,nosuid,nodev,mode=1777,size=${contextBytes(fn)}` },
      Mounts: [setting.gate_mount],
    },
  };
}
