import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ensureProgram, run } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";
import { Namespaces } from "../support/namespaces.ts";

/** Longer than it takes to make namespaces. */
const START_MS = 20_000;

/** Enters cgroups of its own, `$2`, in every hierarchy of version 1, so that the machine sees only those; then goes on as `$3`. */
const ENTER_CGROUPS = `
set -e
for root in /sys/fs/cgroup/*/; do
  if [ -e "$root/cgroup.controllers" ]; then continue; fi
  mkdir "$root/$2"
  for file in cpuset.cpus cpuset.mems; do
    if [ -e "$root/$file" ]; then cat "$root/$file" > "$root/$2/$file"; fi
  done
  echo 0 > "$root/$2/cgroup.procs"
done
exec unshare -C sh -c "$3" sh "$1"`;

/**
 * Gives the machine directories of its own, `$1`, and its view of cgroups. A kubelet sets variables of the kernel, unless they are
 * what it wants: it finds files here that are.
 */
const FURNISH = `
set -e
mount --make-rshared /
hierarchies=$(ls /sys/fs/cgroup | grep -v unified)
umount -R -l /sys/fs/cgroup
mount -t tmpfs cgroup /sys/fs/cgroup
for name in $hierarchies; do
  mkdir "/sys/fs/cgroup/$name"
  option=$name
  if [ "$name" = systemd ]; then option=none,name=systemd; fi
  mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/$name"
done
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file="$1/sysctl-$(basename "\${setting%=*}")"
  echo "\${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
mkdir -p "$1/lib" "$1/log"
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs /run
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
: > "$1/furnished"
exec docker-init -- sleep infinity`;

/** Goes on as the rest of its arguments, in the machine's cgroups, in which whoever enters its namespaces is not yet. */
const JOIN = 'for root in /sys/fs/cgroup/*/; do echo 0 > "$root/cgroup.procs"; done; exec "$@"';

/** Namespaces and cgroups in which programs see a machine of their own. Everything in it ends with it, and it ends with the tests. */
export class Machine implements AsyncDisposable {
  /** Its files, which it also sees at this path. */
  readonly directory: string;
  readonly #namespaces: Namespaces;
  readonly #group: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.#group = `${basename(dirname(directory))}-${basename(directory)}`;
    const command = ["sh", "-c", ENTER_CGROUPS, "sh", directory, this.#group, FURNISH];
    this.#namespaces = new Namespaces(command, { log: join(directory, "machine.log") });
  }

  /** Starts one with nothing but an interface of its own, `lo`. */
  static async start(directory: string): Promise<Machine> {
    await ensureProgram("docker-init", ["docker.io"]);
    await mkdir(directory, { recursive: true });
    const machine = new Machine(directory);
    const isThere = () => Bun.file(join(directory, "furnished")).exists();
    await eventually(async () => machine.#namespaces.hasEnded || (await isThere()), START_MS);
    if (await isThere()) return machine;
    await machine[Symbol.asyncDispose]();
    throw new Error(`No machine comes up: ${machine.#namespaces.output}`);
  }

  /** The first process in it. */
  get pid(): number {
    const { pid } = this.#namespaces;
    if (pid === undefined) throw new Error(`The machine of ${this.directory} has ended`);
    return pid;
  }

  /** Starts a program in it, whose output goes to a file of that name. */
  spawn(name: string, command: readonly string[]): void {
    const log = openSync(join(this.directory, `${name}.log`), "a");
    const inside = ["sh", "-c", JOIN, "sh", ...command];
    Bun.spawn(this.#namespaces.within(["-m", "-n", "-p", "-C"], inside), { stdio: ["ignore", log, log] });
    closeSync(log);
  }

  /** Returns the end of a program's output. */
  logOf(name: string): string {
    return readFileSync(join(this.directory, `${name}.log`), "utf8").slice(-4_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#namespaces[Symbol.asyncDispose]();
    const remove = `for root in /sys/fs/cgroup/*/; do find "$root/$1" -depth -type d -exec rmdir {} + ; done 2> /dev/null`;
    // The kernel takes a moment until the last process has left its cgroup.
    const isGone = async () => {
      await run(["sh", "-c", remove, "sh", this.#group]);
      return (await run(["sh", "-c", `ls -d /sys/fs/cgroup/*/"$1"`, "sh", this.#group])).code !== 0;
    };
    if (!(await eventually(isGone, START_MS))) throw new Error(`The cgroups ${this.#group} stay`);
  }
}
