import { chmod, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { ensureProgram, findProgram, runOrThrow } from "../../../../.ci/packages.ts";

const LOADER = process.arch === "arm64" ? "ld-musl-aarch64.so.1" : "ld-musl-x86_64.so.1";
const LIBC = LOADER.replace("ld-musl", "libc.musl");

/** The functions that Debian's libstdc++, made for glibc, asks for and musl does not have. None is called unless an exception is caught. */
const SHIM = `
#include <stddef.h>
void *__dso_handle __attribute__((visibility("hidden"))) = &__dso_handle;
char __libc_single_threaded = 0;
extern int pthread_key_create(unsigned *, void (*)(void *));
int __pthread_key_create(unsigned *key, void (*end)(void *)) { return pthread_key_create(key, end); }
int _dl_find_object(void *address, void *result) { (void)address; (void)result; return -1; }
extern long getrandom(void *, size_t, unsigned);
unsigned arc4random(void) { unsigned value = 0; getrandom(&value, sizeof value, 0); return value; }
`;

/**
 * Makes a root directory like that of an Alpine with the package libstdc++: busybox and musl, and nothing of glibc. Alpine's own
 * packages are not to be had here; musl is Debian's, and libstdc++ has those parts of Debian's that a binary asks for.
 */
export async function makeMuslRoot(root: string, binary: string): Promise<void> {
  await ensureProgram("musl-gcc", ["musl-tools"]);
  await ensureProgram("g++", ["g++"]);
  const busybox = await ensureProgram("busybox", ["busybox-static"]);
  for (const path of ["lib", "bin", "usr/local/bin", "tmp", "data", "dev", "proc"]) {
    await mkdir(join(root, path), { recursive: true });
  }
  await Bun.write(join(root, "lib", LOADER), Bun.file(`/lib/${LOADER}`));
  await Bun.write(join(root, "bin/busybox"), Bun.file(busybox));
  for (const path of [`lib/${LOADER}`, "bin/busybox"]) await chmod(join(root, path), 0o755);
  await symlink(LOADER, join(root, "lib", LIBC));
  for (const name of ["sh", "uname", "mktemp", "mkdir", "rm", "mv", "chmod", "gunzip", "wget", "sha256sum"]) {
    await symlink("busybox", join(root, "bin", name));
  }
  await linkStandardLibrary(join(root, "lib/libstdc++.so.6"), binary);
}

/** Links a libstdc++ with what a binary wants of it, and what that wants. */
async function linkStandardLibrary(library: string, binary: string): Promise<void> {
  const listed = await runOrThrow(["nm", "--dynamic", binary]);
  const wanted = [...listed.matchAll(/ [UB] ((?:_Z|__cxa|__dynamic_cast|__gxx)\w*)$/gm)].map(
    ([, name]) => `-Wl,-u,${name}`,
  );
  const source = `${library}.c`;
  await Bun.write(source, SHIM);
  const archive = async (name: string) => (await runOrThrow(["g++", `-print-file-name=${name}`])).trim();
  const archives = await Promise.all(["libstdc++.a", "libgcc_eh.a", "libgcc.a"].map(archive));
  const options = ["-fPIC", "-shared", "-nostdlib", "-o", library, "-Wl,-soname,libstdc++.so.6"];
  await runOrThrow([findProgram("gcc") ?? "gcc", ...options, ...wanted, source, ...archives]);
}

/** Returns the command that runs another one in a root directory, with a `/proc` and `/dev`, and files of this machine. */
export function inRoot(root: string, files: Readonly<Record<string, string>>, command: readonly string[]): string[] {
  const mounts = Object.entries(files).flatMap(([inside, outside]) => [
    `: > "${root}${inside}"`,
    `mount --bind "${outside}" "${root}${inside}"`,
  ]);
  const script = [
    "set -e",
    `mount --rbind /proc "${root}/proc"`,
    `mount --rbind /dev "${root}/dev"`,
    ...mounts,
    `exec chroot "${root}" "$@"`,
  ];
  const namespaces = process.getuid?.() === 0 ? ["--mount"] : ["--map-root-user", "--mount"];
  return ["unshare", ...namespaces, "sh", "-c", script.join("\n"), "sh", ...command];
}
