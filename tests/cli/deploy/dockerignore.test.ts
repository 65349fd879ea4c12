import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { extract } from "tar-stream";
import { listContext } from "../../../lib/cli/deploy/context.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import { inFolder } from "../../e2e/builds/support/sent-builds.ts";

const PATHS = [
  "a.txt",
  "b.md",
  "README.md",
  "README-secret.md",
  ".env",
  ".git/config",
  "node_modules/x/index.js",
  "node_modules/keep/index.js",
  "src/a.txt",
  "src/b.md",
  "src/deep/c.txt",
  "src/deep/deeper/d.txt",
  "src/node_modules/y.js",
  "temp",
  "tempa",
  "tempab",
  "dir/temp1/x",
  "[x].txt",
  "Upper.TXT",
  "with space.txt",
];

/** Files of .dockerignore, with everything in which Docker's rules differ from those of git. */
const RULES = [
  "",
  "*.md",
  "*.md\n!README.md",
  "**/*.md",
  "node_modules",
  "**/node_modules",
  "node_modules\n!node_modules/keep",
  "*\n!src\nsrc/deep",
  "*\n!src/deep/c.txt",
  "# comment\n\n  a.txt  \n/src/a.txt\n./.env",
  "temp?",
  "*/temp*",
  "src/**/d.txt",
  "src/deep/",
  "[a-b].*",
  "\\[x\\].txt",
  "*.txt\n!a*.txt\na.txt",
  "README*.md\n!README*.md\nREADME-secret.md",
  "Dockerfile\n.dockerignore",
  "*.TXT",
  "with space.txt",
  "src\n!src/deep/deeper",
  "**\n!a.txt",
  "\uFEFF*.md\r\n!README.md\r\n",
];

let directory: string;
let docker: string;
/** The last context that Docker's program has sent to what it takes for an engine. */
let sent: Uint8Array;
let engine: Bun.Server<unknown>;

beforeAll(async () => {
  docker = await ensureProgram("docker", ["docker.io"]);
  directory = await mkdtemp(join(tmpdir(), "slipway-ignore-"));
  engine = Bun.serve({
    unix: join(directory, "engine.sock"),
    fetch: async (request) => {
      if (!new URL(request.url).pathname.endsWith("/build")) {
        return new Response("OK", { headers: { "Api-Version": "1.41", "Content-Type": "text/plain" } });
      }
      sent = new Uint8Array(await request.arrayBuffer());
      return Response.json({ stream: "Successfully built 0123456789ab\n" });
    },
  });
});

afterAll(async () => {
  await engine.stop(true);
  await rm(directory, { recursive: true });
});

/** Returns the files of the context that Docker's own program sends for a folder. */
async function sentByDocker(folder: string): Promise<string[]> {
  const child = Bun.spawn([docker, "-H", `unix://${directory}/engine.sock`, "build", folder], {
    env: { PATH: process.env["PATH"] ?? "", HOME: directory, DOCKER_BUILDKIT: "0" },
    stdout: "ignore",
    stderr: "pipe",
  });
  const [code, problem] = await Promise.all([child.exited, child.stderr.text()]);
  if (code !== 0) throw new Error(`docker build: ${problem}`);
  const names: string[] = [];
  for await (const entry of Readable.from([sent]).pipe(extract())) {
    if (entry.header.type === "file") names.push(entry.header.name);
    entry.resume();
  }
  return names.toSorted();
}

test.each(RULES.map((rules) => [rules]))("a context with the .dockerignore %j has what Docker's has", async (rules) => {
  const files = Object.fromEntries(PATHS.map((path) => [path, path]));
  const [ours, theirs] = await inFolder(
    { ...files, Dockerfile: "FROM scratch", ".dockerignore": rules },
    async (folder) => [
      (await listContext(folder, { dockerfile: "Dockerfile" }))
        .filter(({ stats }) => stats.isFile())
        .map(({ path }) => path),
      await sentByDocker(folder),
    ],
  );
  expect(ours?.toSorted()).toEqual(theirs ?? []);
});
