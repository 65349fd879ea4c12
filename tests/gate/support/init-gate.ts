import { GATE, GateProcess, sh, type GateOptions } from "./gate-process.ts";

/**
 * Makes a container of namespaces: the gate is PID 1, and everything that it clears as PID 1 is a private tmpfs.
 * The machine's other mounts are not in it: the gate would take them for the container's.
 * `set -e`: if one of them cannot be mounted, the gate is not started, lest it clear the machine's own directories.
 * $1 is a directory of the test, mounted at /dev/host; $2 the gate, copied to /dev/gate; $3 the context's root.
 */
const CONTAINER = `
  set -e
  mount -t tmpfs none /dev
  mkdir /dev/host /dev/shm /dev/mqueue
  mknod -m 666 /dev/null c 1 3
  mknod -m 666 /dev/zero c 1 5
  cp "$2" /dev/gate
  mount --bind "$1" /dev/host
  mount -t tmpfs -o mode=1777 none /dev/shm
  mount -t mqueue none /dev/mqueue
  mount -t tmpfs none /sys/fs/cgroup
  mount -t tmpfs -o mode=1777 none /tmp
  mkdir -p "$3"
  mount -t tmpfs -o mode=1777 none "$3"
  cut -d' ' -f5 /proc/self/mountinfo | sort -r | while read -r at; do
    case "$at" in
      / | /proc | /sys | /dev | /dev/host | /dev/shm | /dev/mqueue | /sys/fs/cgroup | /tmp | "$3") ;;
      *) umount -l "$at" 2> /dev/null || true ;;
    esac
  done
`;

/** Differences between the container of a test and the usual one. */
export interface ContainerOptions extends Pick<GateOptions, "cwd"> {
  /** The context's root. */
  readonly root?: string;
  /** More commands for the script that makes the container. */
  readonly prepare?: string;
  /** Runs the gate as `nobody`. */
  readonly nobody?: boolean;
  /** Options of the gate. */
  readonly options?: readonly string[];
  /** Replaces the shell that runs its request. */
  readonly command?: readonly string[];
}

/** Starts a gate as PID 1 and waits for READY; each request is the script that its call runs. `host` is a directory. */
export async function initGate(host: string, options: ContainerOptions = {}): Promise<GateProcess> {
  const { root = "/tmp/context", prepare = "", nobody = false, cwd = "/", options: own = [] } = options;
  const user = nobody ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] : [];
  const script = `${CONTAINER}\n${prepare}\ncd "$4"\nshift 4\nexec "$@"`;
  const prefix = [
    "setsid",
    "unshare",
    "--mount",
    "--ipc",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    ...sh(script),
    "sh",
  ];
  const gate = new GateProcess([...own, ...(options.command ?? sh('. "$CONTEXT_PATH/request.json"'))], {
    prefix: [...prefix, host, GATE, root, cwd, ...user],
    gate: "/dev/gate",
    cwd: "/",
  });
  await gate.expect("ready");
  return gate;
}

/** Returns the process id, outside, of a gate that is PID 1 inside. */
export async function initOf({ pid }: GateProcess): Promise<number> {
  return Number((await Bun.file(`/proc/${pid}/task/${pid}/children`).text()).trim());
}
