import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { ensureProgram, runOrThrow } from "../packages.ts";

/** Files for an image: the path in it, without a slash, to that of the file of this machine. */
type Files = Record<string, string>;

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** Returns the libraries that the loader would load, according to ldd: none for a static program. */
export async function librariesOf(program: string): Promise<string[]> {
  const listed = await runOrThrow(["sh", "-c", 'ldd "$1" 2>/dev/null || true', "ldd", program]);
  const paths = listed.split("\n").map((line) => /(?:=>\s*)?(\/\S+)\s+\(0x/.exec(line)?.[1]);
  return paths.filter((path) => path !== undefined);
}

/** Returns libraries at the places where the loader of an image finds them. */
export function inPlace(libraries: readonly string[]): Record<string, string> {
  return Object.fromEntries(libraries.map((path) => [libraryPath(path), path]));
}

/** The loader must be at its own path; everything else is found in /lib. */
function libraryPath(path: string): string {
  return basename(path).startsWith("ld-") ? path.slice(1) : `lib/${basename(path)}`;
}

/** Returns this machine's list of certificates, if it has one. */
export function certificates(): Record<string, string> {
  return existsSync(CERTIFICATES) ? { [CERTIFICATES.slice(1)]: CERTIFICATES } : {};
}

/** Returns Debian's Python with its library and pip. */
export async function pythonFiles(): Promise<Files> {
  await ensureProgram("pip3", ["python3-pip"]);
  const python = (await runOrThrow(["readlink", "-f", "/usr/bin/python3"])).trim();
  const version = basename(python);
  const packages = [`${version}-minimal`, `lib${version}-minimal`, `lib${version}-stdlib`, "python3-pip"];
  const listed = (await runOrThrow(["dpkg", "-L", ...packages])).split("\n");
  // Debian's own mark, which keeps pip from installing; the image of Python does not have it.
  const files = listed.filter((path) => /^\/usr\/lib\/python3.*\.(?:py|so|txt|pem)$/.test(path));
  const modules = files.filter((path) => path.endsWith(".so"));
  const libraries = await Promise.all([python, ...modules].map(librariesOf));
  return {
    ...Object.fromEntries(files.map((path) => [path.slice(1), path])),
    ...inPlace([...new Set(libraries.flat())]),
    "usr/bin/python3": python,
    "usr/bin/pip": "/usr/bin/pip3",
  };
}

/** Returns Debian's Go below a folder of the image: what compiles programs, and the sources of its library. */
export async function goFiles(folder: string): Promise<Files> {
  const go = await ensureProgram("go", ["golang-go"]);
  const root = (await runOrThrow([go, "env", "GOROOT"])).trim();
  const tools = (await runOrThrow([go, "env", "GOTOOLDIR"])).trim();
  const listed = async (glob: string) =>
    Array.fromAsync(new Bun.Glob(glob).scan({ cwd: root, followSymlinks: true, onlyFiles: true }));
  const sources = (await listed("src/**/*")).filter((path) => !/^src\/cmd\/|\/testdata\/|_test\.go$/.test(path));
  const programs = ["compile", "link", "asm"].map((name) => join(tools, name).slice(root.length + 1));
  const paths = ["bin/go", "VERSION", ...programs, ...(await listed("pkg/include/*")), ...sources];
  return {
    ...inPlace(await librariesOf(join(root, "bin/go"))),
    ...Object.fromEntries(paths.map((path) => [join(folder, path), join(root, path)])),
  };
}
