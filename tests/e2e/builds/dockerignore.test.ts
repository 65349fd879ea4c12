import { afterAll, beforeAll, expect, test } from "bun:test";
import { listContext } from "../../../lib/cli/deploy/context.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { inFolder } from "./support/sent-builds.ts";

const PATHS = [
  "a.txt",
  "b.md",
  "README.md",
  "README-secret.md",
  ".env",
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

/** Files of .dockerignore, with everything that Docker's rules differ in from those of git. */
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
];

let engine: Engine;
let base: string;
const images: string[] = [];

beforeAll(async () => {
  engine = await acquireEngine();
  base = await baseImage(engine.client, "busybox");
});

afterAll(async () => {
  if (images.length > 0) await engine.docker("rmi", "--force", ...images);
});

/** Returns the files that a folder's COPY takes, as Docker's own program and the engine say. */
async function copied(directory: string, tag: string): Promise<string[]> {
  const image = `slipway-test/ignore-${crypto.randomUUID()}:${tag}`;
  images.push(image);
  await engine.docker("build", "-q", "-t", image, directory);
  const listed = await engine.docker("run", "--rm", "--network", "none", image);
  return listed.split("\n").filter((line) => line !== "").toSorted();
}

test.each(RULES.map((rules, index) => [rules, index] as const))(
  "a context with the .dockerignore %j has what Docker's has",
  async (rules, index) => {
    const files = Object.fromEntries(PATHS.map((path) => [path, path]));
    const Dockerfile = `FROM ${base}\nCOPY . /context\nWORKDIR /context\nCMD ["find", ".", "-type", "f"]`;
    const [ours, theirs] = await inFolder({ ...files, Dockerfile, ".dockerignore": rules }, async (directory) => [
      (await listContext(directory, "Dockerfile")).filter(({ stats }) => stats.isFile()).map(({ path }) => `./${path}`),
      await copied(directory, String(index)),
    ]);
    // Both are always sent; the engine takes them out again.
    const always = ["./Dockerfile", "./.dockerignore"];
    const rest = (paths: readonly string[] = []) => paths.filter((path) => !always.includes(path)).toSorted();
    expect(rest(ours)).toEqual(rest(theirs));
  },
  60_000,
);
