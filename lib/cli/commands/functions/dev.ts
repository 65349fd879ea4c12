import { setTimeout as sleep } from "node:timers/promises";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { type ApiClient, ApiError } from "../../api/api-client.ts";
import { develop } from "../../deploy/dev.ts";
import { folderOptions, pairs } from "../../deploy/folder-options.ts";
import { followFunction, prefixOf } from "../../function-logs.ts";
import type { Output } from "../../output/output.ts";
import { showMs } from "../../output/quantities.ts";
import { TextLines } from "../../output/text-lines.ts";
import type { Define } from "../../tools.ts";

/** The time until the calls are looked for again if the server does not answer, in milliseconds. */
const AGAIN_MS = 2_000;

/** `slipway dev`: makes a function of a folder, and again whenever it changes, with the logs of its calls beside it. */
export const define: Define = (command, { client, out }) => {
  folderOptions(command, "that of the folder, and -dev")
    .description(
      "Build DIR and run it on the server under a name for development, build it again whenever a file changes, and show what " +
        "its calls print. Ctrl-C ends it, and removes the function and its routes",
    )
    .argument("[dir]", "The folder.", ".")
    .option("--keep", "Leave the function on the server at the end.")
    .action(async (source, options) => {
      const { name, route, env, dockerfile, target, buildArg, keep } = options;
      const environment = pairs("--env", env);
      const build_args = pairs("--build-arg", buildArg);
      const server = client();
      const lines = new TextLines(out);
      using leaving = untilSignal();
      const { signal } = leaving;
      let calls: { readonly id: string; readonly stop: AbortController } | undefined;
      await develop({ source, name, route, environment, dockerfile, target, build_args, keep, signal }, server, {
        note: (text) => out.note(text),
        progress: (text) => lines.add(text),
        built: () => lines.end(),
        failed: (message) => {
          out.note(`slipway: ${message}`);
          out.note("Waiting for changes. Ctrl-C ends");
        },
        ready: ({ url, function: fn }, ms) => {
          out.line(url);
          out.note(`Ready after ${showMs(ms)}. Waiting for calls and changes. Ctrl-C ends`);
          // Another one if somebody has deleted the function.
          if (calls?.id === fn.id) return;
          calls?.stop.abort();
          calls = { id: fn.id, stop: new AbortController() };
          const until = AbortSignal.any([calls.stop.signal, signal]);
          void showCalls(server, out, { id: fn.id, since: fn.updated_at, signal: until });
        },
      });
    });
};

/** Aborts at Ctrl-C, or if the terminal is closed; a second one ends the program at once. */
function untilSignal(): Disposable & { readonly signal: AbortSignal } {
  const leaving = new AbortController();
  const leave = () => leaving.abort(new Error("cancelled"));
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.once(name, leave);
  return {
    signal: leaving.signal,
    [Symbol.dispose]: () => {
      for (const name of signals) process.off(name, leave);
    },
  };
}

interface Calls {
  /** The id of the function. */
  readonly id: string;
  /** RFC 3339, by the server's clock. */
  readonly since: string;
  readonly signal: AbortSignal;
}

/** Shows the calls of a function until the signal aborts: what they print, and how they end. */
async function showCalls(server: ApiClient, out: Output, { id, since, signal }: Calls): Promise<void> {
  const seen = new Set<string>();
  const onEnd = (call: Invocation) => out.note(prefixOf(call.id) + endOf(call));
  while (!signal.aborted) {
    try {
      await followFunction(server, out, id, { latest: [], since, seen, onEnd, signal });
    } catch (error) {
      if (error instanceof ApiError && [401, 403].includes(error.status)) {
        return out.note(`The calls are not shown: ${error.message}`);
      }
      // The next build says what is wrong with the server.
      if (!signal.aborted) await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

function endOf({ status, run_ms, message }: Invocation): string {
  const time = run_ms === null ? "" : ` in ${showMs(run_ms)}`;
  return `${status}${time}${message === null ? "" : `: ${message}`}`;
}
