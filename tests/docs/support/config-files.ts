import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { findProgram, run, runOrThrow } from "../../../.ci/packages.ts";

/** nginx would put temporary files into directories that only its package makes. */
const TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/** Has the program that a configuration file is for check it, or reads it where that program cannot be here. */
export async function checkFile(kind: string, text: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  switch (kind) {
    case "caddy": {
      await using caddy = await program("caddy", "caddy");
      await Bun.write(path, text);
      await runOrThrow([caddy.path, "validate", "--adapter", "caddyfile", "--config", path]);
      return;
    }
    case "nginx": {
      await using nginx = await program("nginx", "nginx");
      // The certificates of a site are not here.
      const site = text.replace(/^\s*ssl_certificate(_key)? .*$/gm, "").replaceAll(" ssl;", ";");
      const temporary = TEMPORARY.map((name) => `${name}_temp_path ${path}-${name};`).join("\n");
      await Bun.write(path, `pid ${path}.pid;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${site}\n}\n`);
      await runOrThrow([nginx.path, "-t", "-q", "-e", "stderr", "-c", path]);
      return;
    }
    case "dockerfile labels":
      if (!/^LABEL( slipway\.[a-z_]+=\S+)+$/.test(text)) throw new Error(`Not a LABEL of settings: ${text}`);
      return;
    default:
      throw new Error(`Nobody knows how to check "${kind}"`);
  }
}

/**
 * A program of this machine, or out of a Debian package that is unpacked and not installed: an installed server starts,
 * and listens on port 80.
 */
async function program(name: string, debianPackage: string): Promise<{ readonly path: string } & AsyncDisposable> {
  const found = findProgram(name);
  if (found !== null) return { path: found, [Symbol.asyncDispose]: async () => undefined };
  const directory = await mkdtemp(join(tmpdir(), "slipway-program-"));
  const unpack = `cd ${directory} && apt-get download ${debianPackage} && dpkg-deb --extract ./*.deb .`;
  // A new machine has no lists of packages.
  if ((await run(["sh", "-c", unpack])).code !== 0) await runOrThrow(["sh", "-c", `apt-get update && ${unpack}`]);
  const [path] = await Array.fromAsync(new Bun.Glob(`usr/{bin,sbin}/${name}`).scan({ cwd: directory }));
  if (path === undefined) throw new Error(`The package ${debianPackage} has no ${name}`);
  const remove = () => rm(directory, { recursive: true, force: true });
  return { path: join(directory, path), [Symbol.asyncDispose]: remove };
}
