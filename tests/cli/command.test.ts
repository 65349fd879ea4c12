import { describe, expect, test } from "bun:test";
import { type Command, parseCommand } from "../../lib/cli/command.ts";
import { ConfigError, type Variables } from "../../lib/config/config.ts";

const machine = { memory_bytes: 1024 ** 3, cpus: 4, directory: "/here" };

function parse(argv: readonly string[], env: Variables = {}): Command {
  return parseCommand(argv, env, machine);
}

describe("parseCommand", () => {
  test.each<[argv: string[], command: Command["command"]]>([
    [[], "serve"],
    [["serve"], "serve"],
    [["--port", "1"], "serve"],
    [["healthcheck"], "healthcheck"],
    [["export"], "export"],
    [["sweep"], "sweep"],
    [["--port=1", "openapi"], "openapi"],
    [["help"], "help"],
    [["-h"], "help"],
    [["serve", "--help"], "help"],
    [["version"], "version"],
    [["--version"], "version"],
    [["-v"], "version"],
  ])("%j is the command %s", (argv, command) => {
    expect(parse(argv).command).toBe(command);
  });

  test("backup takes a file", () => {
    expect(parse(["backup", "copy.db", "--data-path=/d"])).toMatchObject({
      command: "backup",
      file: "copy.db",
      config: { dataPath: "/d" },
    });
  });

  test.each<[argv: string[], expected: object]>([
    [["apply"], { file: "slipway.yaml", dry_run: false, prune: false, pull: false }],
    [["apply", "-", "--prune"], { file: "-", prune: true }],
    [["--dry-run", "apply", "x.yaml", "--pull", "--port=1"], { file: "x.yaml", dry_run: true, pull: true }],
  ])("%j applies", (argv, expected) => {
    expect(parse(argv)).toMatchObject({ command: "apply", ...expected });
  });

  test("help and version work in an invalid environment", () => {
    expect(parse(["--help"], { PORT: "x" })).toEqual({ command: "help" });
    expect(parse(["version"], { PORT: "x" })).toEqual({ command: "version" });
  });

  test.each<[argv: string[], message: string]>([
    [["--prot", "1"], "Unknown option --prot: did you mean --port?"],
    [["--max-instance=3"], "Unknown option --max-instance: did you mean --max-instances?"],
    [["--DATA_PATH=x"], "Unknown option --DATA_PATH: did you mean --data-path?"],
    [["-p", "1"], "Unknown option -p: did you mean --"],
    [["serv"], 'Unknown command "serv": did you mean "serve"?'],
    [["health"], 'Unknown command "health": did you mean "'],
    [["constructor"], 'Unknown command "constructor"'],
    [["serve", "9999"], 'Unexpected argument "9999" after "serve"'],
    [["backup"], "No FILE to write: use slipway backup FILE"],
    [["apply", "a", "b"], 'Unexpected argument "b" after "apply"'],
    [["apply", "--dryrun"], "Unknown option --dryrun: did you mean --dry-run?"],
    [["--prune"], "--prune is for slipway apply: leave it out"],
    [["export", "--dry-run"], "--dry-run is for slipway apply: leave it out"],
    [["export", "x.yaml"], 'Unexpected argument "x.yaml" after "export"'],
    [["backup", "a", "b"], 'Unexpected argument "b" after "backup"'],
    [["--port"], "'--port <value>' argument missing"],
    [["--port", "--host"], "'--port' argument is ambiguous."],
    [["--help=yes"], "--help' does not take an argument"],
  ])("%j is refused: %s", (argv, message) => {
    expect(() => parse(argv)).toThrow(ConfigError);
    expect(() => parse(argv)).toThrow(message);
  });
});
