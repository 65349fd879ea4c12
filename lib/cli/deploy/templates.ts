/** The recipe by which a folder without a Dockerfile becomes an image. */
export interface Template {
  /** The name for `slipway new --template`. */
  readonly name: TemplateName;
  /** The language of such a folder, in words. */
  readonly about: string;
  readonly dockerfile: string;
  /** Files of the context besides those of the folder, by path. */
  readonly files: Readonly<Record<string, string>>;
  /** True if the function has a page for every path below its route. */
  readonly serves_paths: boolean;
}

export const TEMPLATE_NAMES = ["bun", "node", "python", "go", "script", "static"] as const;
export type TemplateName = (typeof TEMPLATE_NAMES)[number];

/** A folder, as far as templates look at it. */
export interface Folder {
  /** The names in it, without those of its folders' files. */
  readonly names: readonly string[];
  /** Returns the text of a file. */
  readonly read: (name: string) => Promise<string>;
}

/** The Dockerfile of a folder, if it has one. */
export const DEFAULT_DOCKERFILE = "Dockerfile";

/** Paths that a template's image does not need, and that nobody writes into .dockerignore: lines of such a file. */
export const NOT_FOR_IMAGES: readonly string[] = [".git", "node_modules", ".venv", "**/__pycache__"];

/** The request body is standard input, and standard output the answer. */
const CONTRACT = "LABEL slipway.contract=stdio slipway.content_type=application/json";

/** The programs that run a lone script, by its extension: the image, and the command before the script's name. */
const SCRIPTS: Readonly<Record<string, { readonly image: string; readonly command: readonly string[] }>> = {
  ts: { image: "oven/bun:1", command: ["bun"] },
  js: { image: "oven/bun:1", command: ["bun"] },
  mjs: { image: "oven/bun:1", command: ["bun"] },
  py: { image: "python:3-slim", command: ["python", "-u"] },
  sh: { image: "busybox:1", command: ["sh"] },
};

/** The names that a function's main file has, without extensions; the first that is there. */
const MAIN_NAMES = ["index", "main", "function", "handler", "app", "server"];

/** Finds the template for a folder by what is in it; undefined if there is none. */
export async function templateFor(folder: Folder): Promise<Template | undefined> {
  const has = (name: string) => folder.names.includes(name);
  if (has("package.json")) return packageTemplate(folder, parsePackage(await folder.read("package.json")));
  if (has("requirements.txt")) return pythonTemplate(folder);
  if (has("go.mod")) return GO;
  const script = mainFile(folder, Object.keys(SCRIPTS));
  if (script !== undefined && !has("index.html")) return scriptTemplate(script);
  return has("index.html") ? STATIC : undefined;
}

function packageTemplate(folder: Folder, description: Package): Template {
  const lock = ["bun.lock", "bun.lockb"].find((name) => folder.names.includes(name));
  const isBun = lock !== undefined || description.packageManager?.startsWith("bun@") === true;
  return isBun ? bunTemplate(folder, description, lock) : nodeTemplate(folder, description);
}

function bunTemplate(folder: Folder, description: Package, lock: string | undefined): Template {
  return template("bun", "a package of Bun", [
    "FROM oven/bun:1",
    "WORKDIR /app",
    `COPY package.json ${lock === undefined ? "" : `${lock} `}./`,
    `RUN bun install --production${lock === undefined ? "" : " --frozen-lockfile"}`,
    "COPY . .",
    CONTRACT,
    `CMD ${packageCommand(folder, description, "bun")}`,
  ]);
}

function nodeTemplate(folder: Folder, description: Package): Template {
  const locked = folder.names.includes("package-lock.json");
  return template("node", "a package of npm", [
    "FROM node:22-slim",
    "WORKDIR /app",
    `COPY package.json ${locked ? "package-lock.json " : ""}./`,
    `RUN npm ${locked ? "ci" : "install"} --omit=dev --no-audit --no-fund`,
    "COPY . .",
    CONTRACT,
    `CMD ${packageCommand(folder, description, "node")}`,
  ]);
}

/** Returns the command of a package: its `start` script, its `main`, or the file with a usual name. */
function packageCommand(folder: Folder, { scripts, main }: Package, program: "bun" | "node"): string {
  // The runner's own lines would be part of the answer.
  const runner = program === "bun" ? ["bun", "run", "--silent", "start"] : ["npm", "--silent", "start"];
  if (scripts?.start !== undefined) return JSON.stringify(runner);
  const extensions = program === "bun" ? ["ts", "js", "mjs", "cjs"] : ["js", "mjs", "cjs"];
  return JSON.stringify([program, main ?? mainFile(folder, extensions) ?? "index.js"]);
}

interface Package {
  readonly main?: string;
  readonly packageManager?: string;
  readonly scripts?: { readonly start?: string };
}

function parsePackage(text: string): Package {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {}; // npm's own format
  } catch {
    // The build will say it better.
    return {};
  }
}

function pythonTemplate(folder: Folder): Template {
  return template("python", "a requirements.txt", [
    "FROM python:3-slim",
    "WORKDIR /app",
    "COPY requirements.txt ./",
    "RUN pip install --no-cache-dir -r requirements.txt",
    "COPY . .",
    CONTRACT,
    `CMD ${JSON.stringify(["python", "-u", mainFile(folder, ["py"]) ?? "main.py"])}`,
  ]);
}

const GO = template("go", "a go.mod", [
  "FROM golang:1 AS build",
  "WORKDIR /src",
  "COPY . .",
  "RUN CGO_ENABLED=0 go build -trimpath -o /function .",
  "FROM scratch",
  "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/",
  "COPY --from=build /function /function",
  CONTRACT,
  'CMD ["/function"]',
]);

function scriptTemplate(name: string): Template {
  const { image, command } = SCRIPTS[extensionOf(name)] ?? { image: "busybox:1", command: ["sh"] };
  const contract = extensionOf(name) === "sh" ? CONTRACT.replace("application/json", "text/plain") : CONTRACT;
  return template("script", "a script", [
    `FROM ${image}`,
    "WORKDIR /app",
    "COPY . .",
    contract,
    `CMD ${JSON.stringify([...command, name])}`,
  ]);
}

/** The name of the program that serves a folder, in the context of its build. */
const SERVER_FILE = ".slipway-static.sh";

const STATIC: Template = {
  ...template("static", "an index.html", [
    "FROM busybox:1",
    "COPY . /site",
    `COPY ${SERVER_FILE} /serve.sh`,
    `RUN rm /site/${SERVER_FILE}`,
    "LABEL slipway.contract=stdio slipway.output=cgi",
    'CMD ["sh", "/serve.sh"]',
  ]),
  files: {
    [SERVER_FILE]: `# Serves the files in /site by CGI: a folder is its index.html.
answer() { printf 'Status: %s\\nContent-Type: text/plain; charset=utf-8\\n\\n%s\\n' "$1" "$2"; exit; }
case "/$PATH_INFO/" in */../* | */.*) answer '404 Not Found' 'not found' ;; esac
file="/site$PATH_INFO"
if [ -d "$file" ]; then
  case "$PATH_INFO" in
    */) file="\${file}index.html" ;;
    *) printf 'Status: 308 Permanent Redirect\\nLocation: %s/\\n\\n' "$SCRIPT_NAME$PATH_INFO"; exit ;;
  esac
fi
[ -f "$file" ] || answer '404 Not Found' 'not found'
case "$file" in
  *.html | *.htm) type='text/html; charset=utf-8' ;;
  *.css) type='text/css; charset=utf-8' ;;
  *.js | *.mjs) type='text/javascript; charset=utf-8' ;;
  *.json) type=application/json ;;
  *.svg) type=image/svg+xml ;;
  *.png) type=image/png ;;
  *.jpg | *.jpeg) type=image/jpeg ;;
  *.gif) type=image/gif ;;
  *.webp) type=image/webp ;;
  *.ico) type=image/x-icon ;;
  *.woff2) type=font/woff2 ;;
  *.wasm) type=application/wasm ;;
  *.xml) type=application/xml ;;
  *.pdf) type=application/pdf ;;
  *.txt | *.md) type='text/plain; charset=utf-8' ;;
  *) type=application/octet-stream ;;
esac
printf 'Content-Type: %s\\n\\n' "$type"
exec cat "$file"
`,
  },
  serves_paths: true,
};

function template(name: TemplateName, about: string, lines: readonly string[]): Template {
  return { name, about, dockerfile: `${lines.join("\n")}\n`, files: {}, serves_paths: false };
}

/** Returns the file with the first of the usual names, or the only one with such an extension. */
function mainFile({ names }: Folder, extensions: readonly string[]): string | undefined {
  const scripts = names.filter((name) => extensions.includes(extensionOf(name)));
  for (const main of MAIN_NAMES) {
    const found = extensions.map((extension) => `${main}.${extension}`).find((name) => scripts.includes(name));
    if (found !== undefined) return found;
  }
  return scripts.length === 1 ? scripts[0] : undefined;
}

function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1) : "";
}
