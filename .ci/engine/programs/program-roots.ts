import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { downloadPackages, unpackPackages } from "../newest-root.ts";
import { ensureProgram, runOrThrow } from "../../packages.ts";

const NPM_PROGRAMS = import.meta.dir;
const DEBIAN_PROGRAMS = ["python3-flask", "gunicorn", "default-jre-headless", "dash"];
const AWS_PROGRAMS = ["awscli", "python3-boto3"];
/** Folders that take room in an image, and that nobody reads there. */
const UNREAD = ["doc", "fonts", "i18n", "icons", "locale", "man"].map((name) => `usr/share/${name}`);

/**
 * Returns a directory with programs of npm as an image has them: `usr/bin/node`, `usr/bin/ffmpeg`, and packages in
 * `app/node_modules`. They are those of `package.json` here.
 */
export async function npmPrograms(): Promise<string> {
  const lock = await Bun.file(join(NPM_PROGRAMS, "bun.lock")).bytes();
  const hash = new Bun.CryptoHasher("sha256").update(lock).digest("hex").slice(0, 16);
  return cachedRoot(`npm-programs-${hash}`, async (root) => {
    const app = join(root, "app");
    await mkdir(join(root, "usr/bin"), { recursive: true });
    await mkdir(app);
    await runOrThrow(["cp", join(NPM_PROGRAMS, "package.json"), join(NPM_PROGRAMS, "bun.lock"), app]);
    // No hard links into the cache: an image must not change what other installations have.
    const install = [process.execPath, "install", "--frozen-lockfile", "--production", "--ignore-scripts"];
    await runOrThrow([...install, "--backend=copyfile", "--cwd", app]);
    const modules = join(app, "node_modules");
    for (const [program, from] of [
      ["node", `node-linux-${process.arch}/bin/node`],
      ["ffmpeg", `@ffmpeg-installer/linux-${process.arch}/ffmpeg`],
    ] as const) {
      await rename(join(modules, from), join(root, "usr/bin", program));
    }
    const packages = [`node-linux-${process.arch}`, "@ffmpeg-installer", ".bin/node"];
    await Promise.all(packages.map((name) => rm(join(modules, name), { recursive: true })));
  });
}

/** Returns the root of a Debian with Python, Flask and gunicorn, a Java runtime, and little else. */
export async function debianPrograms(): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256").update(JSON.stringify([DEBIAN_PROGRAMS, UNREAD])).digest("hex");
  return cachedRoot(`debian-programs-${hash.slice(0, 16)}`, async (root) => {
    await unpackPackages(await downloadPackages(join(dirname(root), "apt"), DEBIAN_PROGRAMS), root);
    // As the scripts of the packages do: without it, each start of Flask would compile it.
    if (process.getuid?.() === 0) await runOrThrow(["chroot", root, "python3", "-m", "compileall", "-q", "/usr/lib"]);
    await Promise.all(UNREAD.map((path) => rm(join(root, path), { recursive: true, force: true })));
  });
}

/** Returns the root of a Debian with the AWS CLI and boto3, which are run in it by `chroot`. */
export async function awsPrograms(): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256").update(JSON.stringify([AWS_PROGRAMS, UNREAD])).digest("hex");
  return cachedRoot(`aws-programs-${hash.slice(0, 16)}`, async (root) => {
    await unpackPackages(await downloadPackages(join(dirname(root), "apt"), AWS_PROGRAMS), root);
    // OpenSSL, in AWS's own library, reads one of them.
    const devices = [
      ["null", "3"],
      ["random", "8"],
      ["urandom", "9"],
    ] as const;
    for (const [name, minor] of devices)
      await runOrThrow(["mknod", "-m", "666", join(root, "dev", name), "c", "1", minor]);
    await Promise.all(UNREAD.map((path) => rm(join(root, path), { recursive: true, force: true })));
  });
}

/** The sources of AWS's runtime client in its package, and the place of what is made of them. */
const RIC = { folder: "node_modules/aws-lambda-ric", library: "aws-lambda-cpp-0.2.8", made: "dist/rapid-client.node" };

/**
 * Returns a directory with Node.js and AWS's own runtime client for it, `aws-lambda-ric`, in `var/runtime/node_modules`. A script of its
 * package would build a curl of its own for minutes: here its native part, unchanged, is linked with Debian's, in seconds.
 */
export async function lambdaPrograms(): Promise<string> {
  const given = join(NPM_PROGRAMS, "lambda");
  const lock = await Bun.file(join(given, "bun.lock")).bytes();
  const hash = new Bun.CryptoHasher("sha256").update(lock).digest("hex").slice(0, 16);
  return cachedRoot(`lambda-programs-${hash}`, async (root) => {
    const runtime = join(root, "var/runtime");
    await mkdir(join(root, "usr/bin"), { recursive: true });
    await mkdir(runtime, { recursive: true });
    await runOrThrow(["cp", join(given, "package.json"), join(given, "bun.lock"), runtime]);
    const install = [process.execPath, "install", "--frozen-lockfile", "--production", "--ignore-scripts"];
    await runOrThrow([...install, "--backend=copyfile", "--cwd", runtime]);
    const node = join(runtime, `node_modules/node-linux-${process.arch}`);
    await buildRuntimeClient(runtime, join(node, "include/node"));
    await rename(join(node, "bin/node"), join(root, "usr/bin/node"));
    const packages = [`node-linux-${process.arch}`, "node-gyp", "node-addon-api", ".bin/node"];
    const unused = [
      ...packages.map((name) => `node_modules/${name}`),
      `${RIC.folder}/deps`,
      "package.json",
      "bun.lock",
    ];
    await Promise.all(unused.map((path) => rm(join(runtime, path), { recursive: true })));
  });
}

async function buildRuntimeClient(runtime: string, nodeHeaders: string): Promise<void> {
  const compiler = await ensureProgram("g++", ["g++"]);
  await ensureProgram("curl-config", ["libcurl4-openssl-dev"]);
  const client = join(runtime, RIC.folder);
  const library = join(client, "deps", RIC.library);
  await runOrThrow(["tar", "-xzf", `${library}.tar.gz`, "-C", dirname(library)]);
  const version = await Bun.file(join(library, "src/version.cpp.in")).text();
  await Bun.write(join(library, "src/version.cpp"), version.replaceAll(/@[^@]*@/g, "0"));
  const headers = [join(runtime, "node_modules/node-addon-api"), join(library, "include"), nodeHeaders];
  const sources = ["runtime", "logging", "backward", "version"].map((name) => join(library, `src/${name}.cpp`));
  // As its binding.gyp and CMakeLists.txt have it; less optimized, which is built in half the time.
  const flags = ["-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-DAWS_LAMBDA_LOG=0", "-DBUILDING_NODE_EXTENSION"];
  const named = [
    "-DNODE_GYP_MODULE_NAME=rapid_client",
    ...headers.map((path) => `-I${path}`),
    "-o",
    join(client, RIC.made),
  ];
  await runOrThrow([compiler, ...flags, ...named, join(client, "src/rapid-client.cc"), ...sources, "-lcurl"]);
}

/** Returns the path of Prometheus's own checker of rules, of Debian's package, without what that depends on: it needs nothing. */
export async function promtool(): Promise<string> {
  const path = "usr/bin/promtool";
  const directory = await cachedRoot("promtool", async (root) => {
    await mkdir(root);
    const apt = await ensureProgram("apt-get", ["apt"]);
    const download = [apt, "-q", "-o", "APT::Sandbox::User=root", "download", "prometheus"];
    const get = () => runOrThrow(["sh", "-c", 'cd "$1" && shift && "$@"', "sh", dirname(root), ...download]);
    // A machine that has installed nothing yet has no lists.
    await get().catch(async () => {
      await runOrThrow([apt, "-q", "update"]);
      await get();
    });
    const unpack = 'dpkg-deb --fsys-tarfile "$1"/prometheus_*.deb | tar -x -C "$2" "./$3"';
    await runOrThrow(["sh", "-c", unpack, "sh", dirname(root), root, path]);
  });
  return join(directory, path);
}

/**
 * Returns a directory that `build` fills the first time that it is asked for on this machine; what is beside it then is
 * removed. It is kept in `/var/cache/slipway` (or below XDG_CACHE_HOME, or for a plain user ~/.cache): remove it there to
 * have it built again.
 */
async function cachedRoot(name: string, build: (root: string) => Promise<void>): Promise<string> {
  const cache = process.env["XDG_CACHE_HOME"] || (process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache"));
  const directory = join(cache, "slipway", name);
  if (existsSync(directory)) return directory;
  await mkdir(dirname(directory), { recursive: true });
  const work = await mkdtemp(`${directory}-`);
  try {
    const root = join(work, "root");
    await build(root);
    // The first one wins; the other's is as good.
    await rename(root, directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return directory;
}
