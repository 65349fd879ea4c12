import { basename } from "node:path";
import type { EngineClient } from "./engine-client.ts";
import { hashOf, hasImage, importTree, type ImageTree } from "./image-tree.ts";
import { debianPrograms, lambdaPrograms, npmPrograms } from "./programs/program-roots.ts";
import { ensureProgram, runOrThrow } from "../packages.ts";
import { certificates, goFiles, inPlace, librariesOf, pythonFiles } from "./machine-files.ts";

const PREFIX = "slipway-test/base";

const ACCOUNTS = {
  "etc/passwd":
    "root:x:0:0:root:/root:/bin/sh\nbun:x:1000:1000:bun:/home/bun:/bin/sh\n" +
    "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
  "etc/group": "root:x:0:\nbun:x:1000:\nnonroot:x:65532:\nnogroup:x:65534:\n",
};

/** Base images, made from files of this machine. */
const BASES = {
  /** A shell and the usual programs, in one static file. */
  busybox: busyboxTree,
  /** Like `oven/bun:1`: Bun on a small Linux with a shell. */
  bun: bunTree,
  /** Node.js of this machine and a shell. */
  node: nodeTree,
  /** The C library, certificates and accounts; no shell. */
  distroless: distrolessTree,
  /** A shell and programs of Debian that know nothing of functions. */
  programs: programsTree,
  /** nginx of Debian with the configuration of its package, and a page and 20 MiB to serve. */
  nginx: nginxTree,
  /** Node.js with frameworks of npm in `/app/node_modules`, and ffmpeg. */
  npm: npmTree,
  /** Node.js with AWS's own runtime client in `/var/runtime`, a shell, and curl. */
  lambda: lambdaTree,
  /** A small Debian with Python, Flask and gunicorn, and a Java runtime. */
  debian: debianTree,
  /** Like `python:3-slim`: Debian's Python with pip. */
  python: pythonTree,
  /** Like `golang:1`: the compiler of Debian's Go, and the sources of its library. */
  golang: golangTree,
} satisfies Record<string, () => Promise<ImageTree>>;

export type BaseImage = keyof typeof BASES;

const made = new Map<string, Promise<string>>();

interface BaseTree {
  readonly tree: ImageTree;
  readonly tag: string;
}

const trees = new Map<BaseImage, Promise<BaseTree>>();

function treeOf(base: BaseImage): Promise<BaseTree> {
  const make = async () => {
    const tree = await BASES[base]();
    return { tree, tag: await hashOf(tree) };
  };
  const known = trees.get(base) ?? make();
  trees.set(base, known);
  return known;
}

/** Returns the reference that a base image has on each engine, whether or not that has it. */
export async function baseReference(base: BaseImage): Promise<string> {
  return `${PREFIX}-${base}:${(await treeOf(base)).tag}`;
}

/** Returns the reference of a base image, making it if the engine does not have it. */
export function baseImage(client: EngineClient, base: BaseImage): Promise<string> {
  const key = `${client.host} ${base}`;
  const known = made.get(key) ?? makeBase(client, base);
  made.set(key, known);
  return known;
}

async function makeBase(client: EngineClient, base: BaseImage): Promise<string> {
  const { tree, tag } = await treeOf(base);
  const reference = await baseReference(base);
  if (!(await hasImage(client, reference))) await importTree(client, `${PREFIX}-${base}`, tag, tree);
  return reference;
}

async function busyboxTree(): Promise<ImageTree> {
  const busybox = await staticBusybox();
  const applets = (await runOrThrow([busybox, "--list"])).trim().split("\n");
  const linked = applets.filter((applet) => applet !== "busybox" && !applet.includes("/"));
  return {
    files: { "bin/busybox": busybox },
    links: Object.fromEntries(linked.map((applet) => [`bin/${applet}`, "busybox"])),
    texts: ACCOUNTS,
    directories: { tmp: 0o1777, root: 0o700, "var/tmp": 0o1777 },
    changes: ["ENV PATH=/bin", 'CMD ["sh"]'],
  };
}

async function staticBusybox(): Promise<string> {
  const found = await ensureProgram("busybox", ["busybox-static"]);
  if ((await librariesOf(found)).length === 0) return found;
  throw new Error(`"${found}" is not the static busybox: apt-get install busybox-static`);
}

async function bunTree(): Promise<ImageTree> {
  const shell = await busyboxTree();
  const libraries = await librariesOf(process.execPath);
  return {
    ...shell,
    files: { ...shell.files, ...inPlace(libraries), ...certificates(), "usr/local/bin/bun": process.execPath },
    links: { ...shell.links, "usr/local/bin/bunx": "bun", "usr/bin/env": "../../bin/busybox" },
    directories: { ...shell.directories, "home/bun/app": 0o755 },
    changes: ["ENV PATH=/usr/local/bin:/usr/bin:/bin", "WORKDIR /home/bun/app", 'CMD ["bun"]'],
  };
}

async function nodeTree(): Promise<ImageTree> {
  const node = await ensureProgram("node", ["nodejs"]);
  const shell = await busyboxTree();
  return {
    ...shell,
    files: { ...shell.files, ...inPlace(await librariesOf(node)), "usr/bin/node": node },
    changes: ["ENV PATH=/usr/bin:/bin", 'CMD ["node"]'],
  };
}

async function distrolessTree(): Promise<ImageTree> {
  return {
    // Bun needs more of the C library than anything else that runs on this image.
    files: { ...inPlace(await librariesOf(process.execPath)), ...certificates() },
    texts: ACCOUNTS,
    directories: { tmp: 0o1777, "home/nonroot": 0o755 },
    changes: ["ENV PATH=/usr/local/bin:/usr/bin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
  };
}

/** Programs of Debian by their names: their packages. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  jq: ["jq"],
  perl: ["perl-base"],
  "php-cgi": ["php-cgi"],
  sox: ["sox"],
  git: ["git"],
};

/** A part of git's that answers a web server's requests, and the programs that it starts. */
const GIT_HTTP = ["/usr/lib/git-core/git-http-backend", "/usr/lib/git-core/git"];

async function programsTree(): Promise<ImageTree> {
  const shell = await busyboxTree();
  const found: [string, string][] = [];
  for (const [name, packages] of Object.entries(PROGRAMS)) found.push([name, await ensureProgram(name, packages)]);
  const programs = [...found.map(([, path]) => path), ...GIT_HTTP];
  const libraries = await Promise.all(programs.map(librariesOf));
  return {
    ...shell,
    files: {
      ...shell.files,
      ...inPlace([...new Set(libraries.flat())]),
      ...Object.fromEntries(found.map(([name, path]) => [`usr/bin/${name}`, path])),
      ...Object.fromEntries(GIT_HTTP.map((path) => [path.slice(1), path])),
    },
    links: Object.fromEntries(Object.entries(shell.links ?? {}).filter(([path]) => !(basename(path) in PROGRAMS))),
    changes: ["ENV PATH=/usr/bin:/bin", 'CMD ["sh"]'],
  };
}

/** Configuration of the package nginx-common. */
const NGINX_FILES = ["etc/nginx/nginx.conf", "etc/nginx/mime.types", "etc/nginx/sites-available/default"];

async function nginxTree(): Promise<ImageTree> {
  const nginx = await ensureProgram("nginx", ["nginx-light"]);
  const shell = await busyboxTree();
  const configuration = Object.fromEntries(NGINX_FILES.map((path) => [path, `/${path}`]));
  return {
    files: { ...shell.files, ...inPlace(await librariesOf(nginx)), ...configuration, "usr/sbin/nginx": nginx },
    links: { ...shell.links, "etc/nginx/sites-enabled/default": "../sites-available/default" },
    texts: {
      "etc/passwd": `${ACCOUNTS["etc/passwd"]}www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n`,
      "etc/group": `${ACCOUNTS["etc/group"]}www-data:x:33:\n`,
      "var/www/html/index.html": "<!doctype html><title>hello</title>\n",
      "var/www/html/numbers.txt": Array.from({ length: 1 << 20 }, (_, at) => `${at}\n`.padStart(20)).join(""),
    },
    directories: { ...shell.directories, "var/log/nginx": 0o755, "var/lib/nginx": 0o755, run: 0o755 },
    changes: ["ENV PATH=/usr/sbin:/bin", "EXPOSE 80", 'CMD ["nginx", "-g", "daemon off;"]'],
  };
}

async function npmTree(): Promise<ImageTree> {
  const shell = await busyboxTree();
  const programs = await npmPrograms();
  return {
    ...shell,
    trees: { "": programs },
    files: { ...shell.files, ...inPlace(await librariesOf(`${programs}/usr/bin/node`)) },
    links: { ...shell.links, "usr/bin/env": "../../bin/busybox" },
    changes: ["ENV PATH=/usr/bin:/bin", "WORKDIR /app", 'CMD ["node"]'],
  };
}

async function lambdaTree(): Promise<ImageTree> {
  const [shell, programs] = await Promise.all([busyboxTree(), lambdaPrograms()]);
  const curl = await ensureProgram("curl", ["curl"]);
  const client = `${programs}/var/runtime/node_modules/aws-lambda-ric/dist/rapid-client.node`;
  const libraries = await Promise.all([curl, client, `${programs}/usr/bin/node`].map(librariesOf));
  return {
    ...shell,
    trees: { "": programs },
    files: { ...shell.files, ...inPlace([...new Set(libraries.flat())]), "usr/bin/curl": curl },
    links: { ...shell.links, "usr/bin/env": "../../bin/busybox" },
    directories: { ...shell.directories, "var/task": 0o755 },
    changes: ["ENV PATH=/usr/bin:/bin", "WORKDIR /var/task", 'CMD ["sh"]'],
  };
}

async function debianTree(): Promise<ImageTree> {
  return {
    trees: { "": await debianPrograms() },
    // A script of the package would make it.
    links: { "usr/bin/java": "../lib/jvm/default-java/bin/java" },
    texts: ACCOUNTS,
    directories: { tmp: 0o1777, root: 0o700, app: 0o755 },
    changes: ["ENV PATH=/usr/bin:/bin", "WORKDIR /app", 'CMD ["sh"]'],
  };
}

async function pythonTree(): Promise<ImageTree> {
  const [shell, files] = await Promise.all([busyboxTree(), pythonFiles()]);
  return {
    ...shell,
    files: { ...shell.files, ...files, ...certificates() },
    links: { ...shell.links, "usr/bin/python": "python3", "usr/bin/env": "../../bin/busybox" },
    changes: ["ENV PATH=/usr/bin:/bin LANG=C.UTF-8", 'CMD ["python3"]'],
  };
}

async function golangTree(): Promise<ImageTree> {
  const [shell, files] = await Promise.all([busyboxTree(), goFiles("usr/local/go")]);
  return {
    ...shell,
    files: { ...shell.files, ...files, ...certificates() },
    // Nothing is on the network of a test.
    changes: ["ENV PATH=/usr/local/go/bin:/bin GOFLAGS=-mod=mod GOPROXY=off", "WORKDIR /go", 'CMD ["sh"]'],
  };
}
