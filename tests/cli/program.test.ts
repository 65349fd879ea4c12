import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { COMMANDS } from "../../lib/cli/command-table.ts";
import { FLAGS } from "../../lib/cli/flags.ts";
import { serverFlags } from "../../lib/cli/run.ts";
import { ConfigError, readConfig } from "../../lib/config/config.ts";
import { OPTIONS } from "../../lib/config/options.ts";
import { VERSION } from "../../lib/version.ts";
import { MACHINE, runFake } from "./support/fake-program.ts";

describe("a command line", () => {
  test.each<[argv: string[], task: string]>([
    [[], "serve"],
    [["serve"], "serve"],
    [["--port", "1"], "serve"],
    [["--port=1", "serve"], "serve"],
    [["sweep"], "sweep"],
    [["--port=1", "openapi"], "openapi"],
    [["openapi", "--port=1"], "openapi"],
  ])("%j runs %s", async (argv, task) => {
    expect((await runFake(argv)).task).toBe(task);
  });

  test.each([
    [["openapi"], '{"form":"plain"}\n'],
    [["openapi", "--full"], '{"form":"full"}\n'],
  ])("%j prints %s", async (argv, stdout) => {
    expect(await runFake(argv)).toMatchObject({ task: "openapi", stdout });
  });

  test("backup takes a file", async () => {
    expect(await runFake(["backup", "copy.db", "--data-path=/d"])).toMatchObject({
      task: "backup",
      file: "copy.db",
      config: { dataPath: "/d" },
    });
  });

  test("move takes a URL or a file with it, not both, and prints what has moved", async () => {
    for (const [flag, value] of [
      ["--to", "postgres://u:p@db/slipway"],
      ["--to-file", "url"],
    ] as const) {
      const ran = await runFake(["move", flag, value, "--data-path=/d"]);
      expect(ran).toMatchObject({ task: "move", file: value, config: { dataPath: "/d" }, stdout: "functions  2\n" });
    }
    expect(await runFake(["move", "--undo"])).toMatchObject({ task: "undo", code: 0 });
    expect((await runFake(["move", "--to=x", "--dry-run"])).code).toBe(3);
    expect(runFake(["move", "--to=x", "--to-file=y"])).rejects.toThrow("Both --to and --to-file are given");
    expect(runFake(["move", "--to=x", "--undo"])).rejects.toThrow("--undo takes no URL");
  });

  test.each([[["version"]], [["--version"]], [["-v"]], [["serve", "-v"]]])("%j prints the version", async (argv) => {
    expect(await runFake(argv, { PORT: "x" })).toMatchObject({ task: "", stdout: `slipway ${VERSION}\n`, code: 0 });
  });

  test.each([[["help"]], [["-h"]], [["--help"]], [["--port=x", "--help"]]])(
    "%j prints the help, also in an invalid environment",
    async (argv) => {
      const { task, stdout } = await runFake(argv, { PORT: "x" });
      expect(task).toBe("");
      for (const [name, entry] of Object.entries(COMMANDS)) {
        if (!("isHidden" in entry)) expect(stdout).toContain(`\n  ${name} `);
      }
    },
  );

  test.each<[argv: string[], message: string]>([
    [["ls", "--josn"], "Unknown option --josn: did you mean --json?"],
    [["invoke", "f", "--file", "x"], "Unknown option --file: see slipway invoke --help"],
    [["routes", "set"], 'Unknown command "routes set": give one of create, rm'],
    [["--prot", "1"], "Unknown option --prot: did you mean --port?"],
    [["--max-instance=3"], "Unknown option --max-instance: did you mean --max-instances?"],
    [["--DATA_PATH=x"], "Unknown option --DATA_PATH: did you mean --data-path?"],
    [["-p", "1"], "Unknown option -p: did you mean --"],
    [["serve", "--prot", "1"], "Unknown option --prot: did you mean --port?"],
    [["invoke", "x", "--asinc"], "Unknown option --asinc: did you mean --async?"],
    [["routes", "create", "/x", "y", "--require-kay"], "Unknown option --require-kay: did you mean --require-key?"],
    [["serv"], 'Unknown command "serv": did you mean "serve"?'],
    [["health"], 'Unknown command "health": did you mean "'],
    [["constructor"], 'Unknown command "constructor"'],
    [["routes", "creat"], 'Unknown command "routes creat": did you mean "routes create"?'],
    [["help", "serv"], 'Unknown command "serv": did you mean "serve"?'],
    [["serve", "9999"], 'Unexpected argument "9999" after "serve"'],
    [["export", "x.yaml"], 'Unexpected argument "x.yaml" after "export"'],
    [["apply", "a", "b"], 'Unexpected argument "b" after "apply"'],
    [["backup", "a", "b"], 'Unexpected argument "b" after "backup"'],
    [["backup"], "No FILE: use slipway backup FILE"],
    [["routes", "create", "/x"], "No function: use slipway routes create PATH FUNCTION"],
    [["rm"], "No function: use slipway rm FUNCTION..."],
    [["apply", "--dryrun"], "Unknown option --dryrun: did you mean --dry-run?"],
    [["--prune"], "--prune is for slipway apply: leave it out"],
    [["export", "--dry-run"], "--dry-run is for slipway apply and move: leave it out"],
    [["serve", "--json"], "--json is for commands that print records: leave it out"],
    [["--port"], "No value after --port: use --port PORT"],
    [["--help=yes"], '--help does not take a value: leave out "=yes"'],
    [["--port", "x"], 'Invalid --port "x": give a whole number from 0 to 65535'],
    [["logs", "x", "-n", "0"], 'Invalid --limit "0": give a whole number from 1'],
    [["invocations", "--status", "done"], 'Invalid --status "done": give one of queued, running, '],
    [
      ["stats", "--since", "yesterday"],
      'Invalid --since "yesterday": give a time such as 2026-01-31T12:00:00Z, or how',
    ],
    [["completion", "tcsh"], 'Invalid shell "tcsh": give one of bash, zsh, fish'],
    [["invoke", "x", "--delay", "1s"], "--callback-url are for --async: add it, or leave them out"],
    [["invoke", "x", "--async", "--delay", "soon"], 'Invalid time "soon": give one such as 30s'],
    [["invoke", "x", "@/nowhere/file"], 'Cannot read "/nowhere/file": there is no such file'],
    [["invoke", "x", "@/"], 'Cannot read "/": it is a folder'],
    [["invoke", "x", "-H", "nonsense"], 'Invalid --header "nonsense"'],
    [
      ["invoke", "x", "--async", "--wait", "{}"],
      'Invalid time "{}": give one such as 30s, 5m or 1h after --wait. A body goes',
    ],
    [["apply", "/nowhere/file"], 'Cannot read the manifest "/nowhere/file": there is no such file'],
    [["registries", "set", "ghcr.io"], "No --username: use slipway registries set REGISTRY --username USER"],
    [["keys", "create", "k"], "No --scope: use slipway keys create NAME --scope SCOPE"],
    [["rollback", "x", "y"], 'Invalid version "y": give a whole number from 1'],
    [["deploy", "nowhere/"], 'There is no folder "nowhere/"'],
    [["dead", "replay"], "Give the ids of invocations, or --all"],
    [["--server", "prod", "ls"], 'No saved server "prod": "slipway servers" lists them'],
  ])("%j is refused: %s", async (argv, message) => {
    const error: unknown = await runFake(argv).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toContain(message);
    expect((error as ConfigError).message).not.toContain("\n");
  });
});

describe("options", () => {
  const names = Object.values(OPTIONS).map(({ flag }) => flag);

  test("have flags of their own, which no command uses for something else", async () => {
    const all = [...names, ...Object.keys(FLAGS), "help", "version"];
    expect(new Set(all).size).toBe(all.length);
    for (const name of Object.keys(COMMANDS)) {
      const { stdout } = await runFake(["help", name]);
      const own = stdout.split("\nShared options:")[0] ?? "";
      const flags = [...own.matchAll(/^ {2}(?:-\w, )?--([\w-]+)/gm)].map(([, flag = ""]) => flag);
      expect(flags.filter((flag) => flag !== "help" && all.includes(flag))).toEqual([]);
    }
  });

  test("may stand before or after the command, in any order, as --flag value or --flag=value; the last one counts", async () => {
    const value = fc.integer({ min: 1, max: 65_535 });
    const given = fc.record({
      flag: fc.constantFrom("port", "public-port", "retention-days"),
      value,
      joined: fc.boolean(),
    });
    const words = ({ flag, value, joined }: { flag: string; value: number; joined: boolean }) => {
      const number = flag === "retention-days" ? value % 36_500 : value;
      return joined ? [`--${flag}=${number}`] : [`--${flag}`, String(number)];
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(given),
        fc.array(given),
        fc.constantFrom("serve", "sweep", "openapi"),
        async (before, after, name) => {
          const { task, config } = await runFake([...before.flatMap(words), name, ...after.flatMap(words)]);
          expect(task).toBe(name);
          const last = (flag: string) => [...before, ...after].findLast((one) => one.flag === flag)?.value;
          expect(config?.port).toBe(last("port") ?? 9_999);
          expect(config?.publicPort ?? null).toBe(last("public-port") ?? null);
          expect(config?.retentionDays).toBe((last("retention-days") ?? 7) % 36_500);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("that only start the server are read without the parser of commands, to the same effect", async () => {
    const words = fc.constantFrom(
      "serve",
      "ls",
      "--port",
      "--port=1",
      "--data-path=d",
      "--host",
      "0.0.0.0",
      "9",
      "--prune",
      "-v",
      "--",
      "--prot",
    );
    const lines = fc.array(words, { maxLength: 4 });
    let quick = 0;
    await fc.assert(
      fc.asyncProperty(lines, async (argv) => {
        const flags = serverFlags(argv);
        if (flags === undefined) return;
        quick += 1;
        const read = () => readConfig(flags, { HOME: "/nowhere" }, MACHINE);
        const ran = await runFake(argv).catch(String);
        if (typeof ran === "string") expect(read).toThrow(ran.replace("ConfigError: ", ""));
        else expect(ran).toMatchObject({ task: "serve", config: read() });
      }),
      { numRuns: 300 },
    );
    expect(quick).toBeGreaterThan(20);
    expect(serverFlags(["--port", "1", "serve", "--host=::"])).toMatchObject({ port: "1", host: "::" });
  });

  test("of any text end in a ConfigError, in a help or in a command, and never in another error", async () => {
    const word = fc.oneof(
      fc.constantFrom(...Object.keys(COMMANDS).filter((name) => !["upgrade", "logout", "new"].includes(name))),
      fc.constantFrom(
        "--",
        "--json",
        "--port",
        "-h",
        "--help=",
        "--=",
        "--no-json",
        "-n",
        "-nx",
        "__proto__",
        "--__proto__",
        "--constructor=1",
      ),
      // "-" would read standard input.
      fc.string({ maxLength: 8 }).filter((text) => text !== "-"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 5 }), async (argv) => {
        // Nothing listens there: commands that get as far as a request fail.
        const error: unknown = await runFake(argv, { SLIPWAY_URL: "http://127.0.0.1:1" }).catch(
          (error: unknown) => error,
        );
        if (!(error instanceof Error)) return;
        const isOurs =
          error instanceof ConfigError || /^(no answer from|no server answers|No \w+ )/.test(error.message);
        expect(isOurs ? "" : `${JSON.stringify(argv)}: ${error.stack}`).toBe("");
      }),
      { numRuns: 150 },
    );
  });
});
