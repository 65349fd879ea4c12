import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { downloadPackages, unpackPackages } from "./newest-root.ts";
import { ensureProgram, runOrThrow, SetupError, updatePackageLists } from "../packages.ts";

/** The package that depends on the present kernel. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
/** With AppArmor's parser, by which the engine loads its profile. */
const PACKAGES = ["docker.io", "iptables", "busybox-static", "apparmor"];
/** The address of the machine in qemu's own network. */
const ADDRESS = "10.0.2.15/24";
/** The port of the engine there. */
export const ENGINE_PORT = 2375;
/** Room for images and containers besides the root itself; the file has holes where there is nothing. */
const DISK_SIZE = "4G";
/** Modules without which there is no root: ext4 asks for its checksums by the name of an algorithm, which no list has. */
const EARLY_MODULES = ["crc32c_generic", "virtio_pci", "virtio_blk", "ext4"];
const VERSION_FILE = "machine-version";

/** Finds the disk and goes on from there. */
const FIRST_STEPS = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in ${EARLY_MODULES.join(" ")}; do /bin/busybox modprobe $module; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root && exec /bin/busybox switch_root /root /start
`;

/** Mounts what an engine expects, and starts it: with a containerd that is ready, since it does not wait long for its own. */
const START = `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
modprobe virtio_net
modprobe overlay
hostname emulated
ip link set lo up
ip addr add ${ADDRESS} dev eth0
ip link set eth0 up
uname -r
containerd --log-level warn &
until [ -S /run/containerd/containerd.sock ]; do sleep 1; done
echo "containerd is there"
exec dockerd --containerd /run/containerd/containerd.sock --log-level warn -H tcp://0.0.0.0:${ENGINE_PORT} --tls=false
`;

/** The files of a machine for qemu. */
export interface EmulatedMachine {
  readonly kernel: string;
  readonly initrd: string;
  /** Its root, an ext4 filesystem; it is never written to. */
  readonly disk: string;
}

/**
 * Returns a machine as this one's release of Debian has it: its kernel and its engine, with cgroup v2 and AppArmor. It is made
 * of packages, as root, and kept in `/var/cache/slipway` (or below XDG_CACHE_HOME); remove the directory there to get a newer
 * one. Throws a `SetupError` if it cannot be had.
 */
export async function emulatedMachine(): Promise<EmulatedMachine> {
  if (process.arch !== "x64") throw unavailable("it is one for x64 alone");
  if (process.getuid?.() !== 0) throw unavailable("only root can build it");
  const directory = join(process.env["XDG_CACHE_HOME"] || "/var/cache", "slipway", "emulated-machine");
  const at = (name: string): string => join(directory, name);
  // Its recipe decides what it is, but for the versions of packages.
  const version = new Bun.CryptoHasher("sha256").update(await Bun.file(import.meta.path).text()).digest("hex");
  const made = existsSync(at(VERSION_FILE)) ? await Bun.file(at(VERSION_FILE)).text() : "";
  if (made !== version) await build(directory, version);
  return { kernel: at("kernel"), initrd: at("initrd"), disk: at("disk") };
}

async function build(directory: string, version: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  const work = await mkdtemp(`${directory}-`);
  try {
    const tree = join(work, "tree");
    const kernel = await kernelPackage();
    const packages = await downloadPackages(join(work, "apt"), PACKAGES);
    // It is often newer than the release: this machine's own lists have its security updates. apt writes to where it is.
    await runOrThrow(["env", "-C", work, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", kernel]);
    const [file = ""] = await Array.fromAsync(new Bun.Glob(`${kernel}_*.deb`).scan({ cwd: work, absolute: true }));
    await unpackPackages([...packages, file], tree);
    const release = kernel.replace("linux-image-", "");
    await runOrThrow([await busybox(), "depmod", "-b", tree, release]);
    await prepare(tree);
    const machine = join(work, "machine");
    await mkdir(machine);
    await rename(join(tree, "boot", `vmlinuz-${release}`), join(machine, "kernel"));
    await makeInitrd(work, tree, release, join(machine, "initrd"));
    const mke2fs = await ensureProgram("mke2fs", ["e2fsprogs"]);
    await runOrThrow([mke2fs, "-q", "-t", "ext4", "-d", tree, join(machine, "disk"), DISK_SIZE]);
    await Bun.write(join(machine, VERSION_FILE), version);
    await rm(directory, { recursive: true, force: true });
    await rename(machine, directory);
  } catch (error) {
    throw error instanceof SetupError ? error : unavailable(error instanceof Error ? error.message : String(error));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Returns the name of the package of the present kernel. */
async function kernelPackage(): Promise<string> {
  const dependencies = await runOrThrow(["apt-cache", "depends", KERNEL_PACKAGE]).catch(async () => {
    await updatePackageLists();
    return runOrThrow(["apt-cache", "depends", KERNEL_PACKAGE]);
  });
  const kernel = /Depends: (linux-image-\S+)/.exec(dependencies)?.[1];
  if (kernel === undefined) throw unavailable(`${KERNEL_PACKAGE} names no kernel`);
  return kernel;
}

function busybox(): Promise<string> {
  return ensureProgram("busybox", ["busybox-static"]);
}

/** Adds what the root needs to be that of a machine. */
async function prepare(tree: string): Promise<void> {
  const applets = (await runOrThrow([join(tree, "usr/bin/busybox"), "--list"])).trim().split("\n");
  for (const name of applets) {
    const paths = [join(tree, "usr/bin", name), join(tree, "usr/sbin", name)];
    if (!paths.some((path) => existsSync(path))) await symlink("/usr/bin/busybox", join(tree, "usr/sbin", name));
  }
  await runOrThrow(["mkdir", "-p", ...["root", "tmp", "run", "etc/docker"].map((name) => join(tree, name))]);
  // Each rule takes seconds there, and no port is published.
  const daemon = { iptables: false };
  await Bun.write(join(tree, "etc/docker/daemon.json"), JSON.stringify(daemon));
  await Bun.write(join(tree, "start"), START);
  await runOrThrow(["chmod", "755", join(tree, "start")]);
}

async function makeInitrd(work: string, tree: string, release: string, output: string): Promise<void> {
  const root = join(work, "initrd");
  const modules = `lib/modules/${release}`;
  await mkdir(join(root, "bin"), { recursive: true });
  await cp(join(tree, "usr/bin/busybox"), join(root, "bin/busybox"));
  const list = await Bun.file(join(tree, modules, "modules.dep")).text();
  for (const path of neededModules(list)) {
    await mkdir(join(root, modules, dirname(path)), { recursive: true });
    await cp(join(tree, modules, path), join(root, modules, path));
  }
  for (const name of await readdir(join(tree, modules)))
    if (name.startsWith("modules.")) await cp(join(tree, modules, name), join(root, modules, name));
  await Bun.write(join(root, "init"), FIRST_STEPS);
  await runOrThrow(["chmod", "755", join(root, "init")]);
  const pack = `cd "$1" && find . | "$2" cpio -o -H newc | gzip -1 >"$3"`;
  await runOrThrow(["sh", "-c", pack, "sh", root, await busybox(), output]);
}

/** Returns the files of the early modules, by lines like "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko". */
function neededModules(list: string): Set<string> {
  const needed = new Set<string>();
  for (const line of list.split("\n")) {
    const [path = "", dependencies = ""] = line.split(":");
    const name = basename(path)
      .replace(/\.ko.*/, "")
      .replaceAll("-", "_");
    if (!EARLY_MODULES.includes(name)) continue;
    for (const file of [path, ...dependencies.trim().split(" ")]) if (file !== "") needed.add(file);
  }
  return needed;
}

function unavailable(why: string): SetupError {
  return new SetupError(
    `Cannot get the emulated machine: ${why}. It is built from Debian's packages, by root on a Debian machine with a network.`,
  );
}
