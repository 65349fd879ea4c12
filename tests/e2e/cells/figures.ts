import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The machine's resources that a container with cells holds while none of its calls runs, seen from outside. */
export interface Figures {
  readonly processes: number;
  /** Distinct namespaces of its processes, of the kinds that a cell has. */
  readonly namespaces: number;
  /** Open descriptors of the gate. */
  readonly descriptors: number;
  /** Mounts of all of its mount namespaces. */
  readonly mounts: number;
  /** Memory of the gate's own, in KiB. */
  readonly gate_kib: number;
  /** Memory of tmpfs and shared memory that its processes have filled, in KiB. */
  readonly files_kib: number;
  /** Kernel memory that counts as the container's, in KiB: mounts, namespaces, inodes and the like. */
  readonly kernel_kib: number;
}

const KINDS = ["mnt", "pid", "ipc", "uts"];

/** Reads the figures of a container; processes that end meanwhile do not count. */
export function figuresOf(container: string): Figures {
  const pids = processesOf(container);
  const gate = pids.find(isGate);
  if (gate === undefined) throw new Error(`The container ${container} has no gate among its processes ${pids.join()}`);
  const spaces = new Map<string, number>();
  for (const pid of pids) for (const kind of KINDS) spaces.set(linkOf(pid, kind), pid);
  const mountSpaces = [...spaces].filter(([name]) => name.startsWith("mnt:")).map(([, pid]) => pid);
  return {
    processes: pids.length,
    namespaces: spaces.size,
    descriptors: entriesOf(`/proc/${gate}/fd`).length,
    mounts: mountSpaces.reduce((sum, pid) => sum + linesOf(`/proc/${pid}/mountinfo`).length, 0),
    gate_kib: numberIn(textOf(`/proc/${gate}/status`), /^RssAnon:\s*(\d+) kB$/m),
    ...memoryOf(container),
  };
}

/** The machine's own count of kernel objects of which each cell has one or more; undefined where /proc has no such list. */
export function kernelObjects(): Readonly<Record<string, number>> | undefined {
  const text = textOf("/proc/slabinfo");
  if (text === "") return undefined;
  const names = [
    "pid_namespace",
    "mnt_cache",
    "ovl_inode",
    "shmem_inode_cache",
    "sock_inode_cache",
    "mqueue_inode_cache",
  ];
  return Object.fromEntries(names.map((name) => [name, numberIn(text, new RegExp(`^${name}\\s+(\\d+)`, "m"))]));
}

function processesOf(container: string): readonly number[] {
  const pids = entriesOf("/proc").map(Number).filter(Number.isInteger);
  return pids.filter((pid) => textOf(`/proc/${pid}/cgroup`).includes(container));
}

/** The gate is process 1 of the outermost PID namespace of its container; the init of a cell is one of a deeper one. */
function isGate(pid: number): boolean {
  const status = textOf(`/proc/${pid}/status`);
  return /^Name:\s*gate/m.test(status) && /^NSpid:(?:\s+\d+)*\s+1$/m.test(status) && !isInCell(pid);
}

function isInCell(pid: number): boolean {
  const parent = numberIn(textOf(`/proc/${pid}/status`), /^PPid:\s*(\d+)$/m);
  return /^Name:\s*gate/m.test(textOf(`/proc/${parent}/status`));
}

/** Of cgroup v1 or v2. */
function memoryOf(container: string): Pick<Figures, "files_kib" | "kernel_kib"> {
  const v1 = `/sys/fs/cgroup/memory/docker/${container}`;
  const v2 = `/sys/fs/cgroup/docker/${container}`;
  const old = textOf(`${v1}/memory.stat`);
  if (old !== "") {
    const kernel = Number(textOf(`${v1}/memory.kmem.usage_in_bytes`).trim());
    return { files_kib: numberIn(old, /^shmem (\d+)$/m) / 1024, kernel_kib: kernel / 1024 };
  }
  const stat = textOf(`${v2}/memory.stat`);
  return { files_kib: numberIn(stat, /^shmem (\d+)$/m) / 1024, kernel_kib: numberIn(stat, /^slab (\d+)$/m) / 1024 };
}

function linkOf(pid: number, kind: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return `${kind}: none`;
  }
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function linesOf(path: string): readonly string[] {
  return textOf(path).split("\n").filter(Boolean);
}

function numberIn(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}
