import { ConfigError } from "../../../config/config.ts";
import { deploy, type Deployed } from "../../deploy/deploy.ts";
import { repeated } from "../../option-readers.ts";
import type { Output } from "../../output/output.ts";
import type { Define } from "../../tools.ts";

/** `slipway deploy`: makes a function of a folder, or of an image. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("[source]", "A folder, or the reference of an image.", ".")
    .option("--name <name>", "The name of the function; by default that of the folder or the image.")
    .option("--route <path>", "The path below /r; by default the function's own route, or else /NAME.")
    .option("--env <key=value>", "A variable; can be given several times, and replaces all that there are.", repeated)
    .option("--dockerfile <path>", "The Dockerfile in the folder; by default Dockerfile, or else a template.")
    .option("--target <stage>", "The stage to build; by default the last one.")
    .option("--build-arg <key=value>", "A value for the Dockerfile's ARG; can be given several times.", repeated)
    .option("--fresh", "Run every step, also those that an earlier build has run, on images that are pulled anew.")
    .action(async (source, options) => {
      const { name, route, env, dockerfile, target, buildArg, fresh } = options;
      const leaving = new AbortController();
      const leave = () => leaving.abort(new Error("cancelled"));
      process.once("SIGINT", leave);
      const lines = new Lines(out);
      try {
        const deployed = await deploy(
          {
            source,
            name,
            route,
            environment: pairs("--env", env),
            dockerfile,
            target,
            build_args: pairs("--build-arg", buildArg),
            no_cache: fresh,
            pull: fresh,
            signal: leaving.signal,
          },
          client(),
          { note: (text) => out.note(text), progress: (text) => lines.add(text) },
        );
        print(out, deployed);
      } finally {
        lines.end();
        process.off("SIGINT", leave);
      }
    });
};

function print(out: Output, { url, function: fn, route, build }: Deployed): void {
  out.done({ url, function: fn, route, build }, url);
}

/** Reads options such as `--env KEY=VALUE`; undefined if there are none. */
function pairs(option: string, texts: readonly string[] | undefined): Record<string, string> | undefined {
  if (texts === undefined) return undefined;
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new ConfigError(`Invalid ${option} ${JSON.stringify(text)}: give KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)] as const;
    }),
  );
}

/** Prints what comes in pieces of any size, line by line. */
class Lines {
  readonly #out: Output;
  #rest = "";

  constructor(out: Output) {
    this.#out = out;
  }

  add(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#out.note(line);
  }

  end(): void {
    if (this.#rest !== "") this.#out.note(this.#rest);
    this.#rest = "";
  }
}
