import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { COMMANDS, isCommand } from "../../lib/cli/command-table.ts";
import { optionsTable } from "../../lib/cli/help.ts";
import { OPTIONS } from "../../lib/config/options.ts";
import { runFake } from "./support/fake-program.ts";

const ofClients = new Set(["url", "server", "ca", "allow-http"]);

/** Returns a help without the breaks of its lines. */
async function helpOf(...words: readonly string[]): Promise<string> {
  return (await runFake(["help", ...words])).stdout.replaceAll(/\s+/g, " ");
}

test("the help of serve and optionsTable name every option with its default", async () => {
  const help = await helpOf("serve");
  for (const { flag, variable, value } of Object.values(OPTIONS)) {
    expect(optionsTable()).toContain(`| \`--${flag}\` | \`${variable}\` | `);
    if (ofClients.has(flag)) continue;
    expect(help).toContain(`--${flag} <${value}>`);
    expect(help).toContain(`[${variable}; default: `);
  }
  expect(optionsTable()).toContain("| `--max-request-bytes` | `MAX_REQUEST_BYTES` | 6MiB | ");
  const cells = optionsTable()
    .trim()
    .split("\n")
    .map((row) => row.split("|").length);
  expect(new Set(cells)).toEqual(new Set([6]));
});

test("the help of commands that call a server names the options for that, and no others of the server", async () => {
  const help = await helpOf("ls");
  for (const flag of [...ofClients, "api-key", "api-key-file", "json"]) expect(help).toContain(` --${flag}`);
  expect(help).not.toContain("--data-path");
  expect(await helpOf("apply")).toContain("--dry-run");
});

test("every command has a help: --help and slipway help print the same, with a sentence for each argument and option", async () => {
  for (const name of Object.keys(COMMANDS)) {
    const { stdout, code } = await runFake([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toStartWith(`Usage: slipway ${name} `);
    expect((await runFake(["help", name])).stdout).toBe(stdout);
    const described = stdout.split("\n").filter((line) => /^ {2}(-|\S+ {2,})/.test(line));
    for (const line of described) expect(line).toMatch(/\S {2,}\S/);
  }
});

test("help fits a terminal", async () => {
  for (const words of [[], ...Object.keys(COMMANDS).map((name) => [name])]) {
    const { stdout } = await runFake(["help", ...words]);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  }
});

test("every command that the dashboard and the manual name exists", async () => {
  const root = dirname(dirname(import.meta.dir));
  const named = new Map<string, string>();
  const files = ["README.md", "lib/ui/**/*.tsx", "lib/docs/**/*.md"];
  for (const file of files.flatMap((some) => [...new Glob(some).scanSync(root)])) {
    const text = await Bun.file(join(root, file)).text();
    for (const [, word = ""] of text.matchAll(/(?:`|<code>|^\$ )slipway ([a-z]+)/gm)) named.set(word, file);
  }
  expect(named.size).toBeGreaterThan(20);
  expect([...named].filter(([word]) => !isCommand(word))).toEqual([]);
});
