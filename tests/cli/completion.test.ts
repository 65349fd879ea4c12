import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { COMMANDS } from "../../lib/cli/command-table.ts";
import { ensureProgram, run } from "../../.ci/packages.ts";
import { SLIPWAY } from "../support/program.ts";
import { Person } from "./support/slipway.ts";

/** A server with names, some of which a shell must not see. */
const NAMES = ["alpha", "beta", "$(touch owned)", "`touch owned`", "a b", "*", "~"];

let api: Bun.Server<undefined>;
let person: Person;

beforeAll(async () => {
  await ensureProgram("zsh", ["zsh"]);
  await ensureProgram("fish", ["fish"]);
  if (!(await Bun.file("/usr/share/bash-completion/bash_completion").exists())) {
    await ensureProgram("bash-completion-is-no-program", ["bash-completion"]).catch(() => undefined);
  }
  const data = NAMES.map((name) => ({ id: name, name, path: `/${name}` }));
  api = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => Response.json({ success: true, message: "success", data }),
  });
  person = await Person.arrive({ SLIPWAY_URL: `http://127.0.0.1:${api.port}` });
  await Bun.write(join(person.home, "bin/slipway"), `#!/bin/sh\nexec ${SLIPWAY.join(" ")} "$@"\n`);
  await chmod(join(person.home, "bin/slipway"), 0o755);
  for (const shell of ["bash", "zsh", "fish"]) {
    const { stdout, code } = await person.types(["completion", shell]);
    expect(code).toBe(0);
    await Bun.write(join(person.home, `completion.${shell}`), stdout);
  }
});

afterAll(async () => {
  await api.stop(true);
  await person[Symbol.asyncDispose]();
});

/** Returns what `slipway complete` offers for the last word. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await person.types(["complete", "--", ...words]);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t")[0] ?? "");
}

describe("slipway complete offers", () => {
  test("all commands that the help shows, with their summaries", async () => {
    const { stdout } = await person.types(["complete", "--", ""]);
    const visible = Object.entries(COMMANDS).filter(([, entry]) => !("isHidden" in entry));
    for (const [name, { summary }] of visible) expect(stdout).toContain(`${name}\t${summary}\n`);
    expect(stdout).not.toContain("complete\t");
    expect(stdout).toEndWith(":4\n");
  });

  test("commands of commands, flags, choices, names and files", async () => {
    expect(await offered("in")).toEqual(["invoke", "invocations", ":4"]);
    expect(await offered("routes", "c")).toEqual(["create", ":4"]);
    expect(await offered("invoke", "--as")).toEqual(["--async", ":4"]);
    expect(await offered("apply", "--dr")).toEqual(["--dry-run", ":4"]);
    expect(await offered("ls", "--ur")).toEqual(["--url", ":4"]);
    expect(await offered("invocations", "--status", "qu")).toEqual(["queued", ":4"]);
    expect(await offered("keys", "create", "ci", "--scope", "re")).toEqual(["read", ":4"]);
    expect(await offered("completion", "")).toEqual(["bash", "zsh", "fish", ":4"]);
    expect(await offered("invoke", "")).toEqual(["alpha", "beta", ":4"]);
    expect(await offered("logs", "--follow", "a")).toContain("alpha");
    expect(await offered("routes", "rm", "/al")).toEqual(["/alpha", ":4"]);
    expect(await offered("apply", "")).toEqual([":0"]);
    expect(await offered("help", "swe")).toEqual(["sweep", ":4"]);
  });

  test("nothing, and no error, if the server is away", async () => {
    const env = { SLIPWAY_URL: "http://127.0.0.1:1" };
    expect(await person.types(["complete", "--", "invoke", ""], { env })).toEqual({
      code: 0,
      stdout: ":4\n",
      stderr: "",
    });
  });
});

/** Runs a script of a shell in the person's directory, with `slipway` in its path. */
async function inShell(command: readonly string[]): Promise<string> {
  const variables = [`HOME=${person.home}`, `SLIPWAY_URL=http://127.0.0.1:${api.port}`];
  const path = `PATH=${person.home}/bin:${process.env["PATH"] ?? ""}`;
  const { code, stdout, stderr } = await run([
    "env",
    "-i",
    "-C",
    person.home,
    path,
    "TERM=dumb",
    ...variables,
    ...command,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(await Bun.file(join(person.home, "owned")).exists()).toBe(false);
  return stdout;
}

/** A bash that completes a line as it would at the key, and prints what it offers. */
const BASH = `
. /usr/share/bash-completion/bash_completion
. ./completion.bash
complete_line() {
  COMP_LINE=$1 COMP_POINT=\${#1}
  eval "COMP_WORDS=($1)"
  [[ $1 == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  __slipway_complete 2>/dev/null
  printf '%s\\n' "\${COMPREPLY[@]}"
}
for line; do complete_line "$line"; done
`;

/** A zsh at a terminal of its own, which is typed to. */
const ZSH = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; autoload -U compinit; compinit -u -D; source ./completion.zsh; zstyle ":completion:*" list-colors; LISTMAX=0; echo re""ady'
zpty -r -m z line '*ready*'
zpty -w -n z "$1"$'\\t'
sleep 3
zpty -w z ''
zpty -r -m z line "*$2*" && print -r -- "$line"
`;

describe("the script for", () => {
  test("bash completes commands, flags, names, and nothing that bash would run", async () => {
    const printed = await inShell([
      "bash",
      "--norc",
      "-c",
      BASH,
      "bash",
      "slipway sw",
      "slipway invoke ",
      "slipway ls --ur",
    ]);
    expect(
      printed
        .trim()
        .split("\n")
        .map((line) => line.trim()),
    ).toEqual(["sweep", "alpha", "beta", "--url"]);
  });

  test("zsh completes a name", async () => {
    const printed = await inShell(["zsh", "-f", "-c", ZSH, "zsh", "slipway invoke al", "alpha"]);
    expect(printed).toContain("alpha");
  });

  test("fish completes commands, flags and names", async () => {
    const script = "source ./completion.fish; for line in $argv; complete -C $line; end";
    const printed = await inShell([
      "fish",
      "--no-config",
      "-c",
      script,
      "slipway sw",
      "slipway invoke ",
      "slipway ls --ur",
    ]);
    const offered = printed
      .trim()
      .split("\n")
      .map((line) => line.split("\t")[0]);
    expect(offered).toEqual(["sweep", "alpha", "beta", "--url"]);
  });
});
