import { deploy, type Deployed } from "../../deploy/deploy.ts";
import { folderOptions, pairs } from "../../deploy/folder-options.ts";
import type { Output } from "../../output/output.ts";
import { TextLines } from "../../output/text-lines.ts";
import type { Define } from "../../tools.ts";

/** `slipway deploy`: makes a function of a folder, or of an image. */
export const define: Define = (command, { client, out }) => {
  folderOptions(command, "that of the folder or the image")
    .argument("[source]", "A folder, or the reference of an image.", ".")
    .option("--fresh", "Run every step, also those that an earlier build has run, on images that are pulled anew.")
    .action(async (source, options) => {
      const { name, route, env, dockerfile, target, buildArg, fresh } = options;
      const leaving = new AbortController();
      const leave = () => leaving.abort(new Error("cancelled"));
      process.once("SIGINT", leave);
      const lines = new TextLines(out);
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
