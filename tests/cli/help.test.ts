import { expect, test } from "bun:test";
import { COMMANDS } from "../../lib/cli/command-table.ts";
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
