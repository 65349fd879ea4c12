import { systemClock } from "./lib/clock.ts";
import { run } from "./lib/cli/run.ts";
import type { ServerTasks } from "./lib/cli/tools.ts";
import type { Config } from "./lib/config/config.ts";
import { createLogger, printBesidesLog } from "./lib/log.ts";
import { VERSION } from "./lib/version.ts";

/**
 * The server's own code is loaded by the commands that need it: the others start without it. It is in few modules, since the
 * bundle has a piece for each that is imported by itself, and each piece makes the start longer.
 */
const tasks: ServerTasks = {
  serve,
  backup: async (config, file) => {
    const { backupDatabase } = await import("./lib/server/tasks.ts");
    backupDatabase(config, file);
  },
  move: async (config, task) => {
    const { moveToPostgres } = await import("./lib/server/tasks.ts");
    return moveToPostgres(config, { ...task, log: loggerOf(config) });
  },
  undoMove: async (config) => {
    const { undoMoveToPostgres } = await import("./lib/server/tasks.ts");
    return undoMoveToPostgres(config);
  },
  sweep: async (config) => {
    const { sweep } = await import("./lib/server/tasks.ts");
    return sweep(config, loggerOf(config));
  },
  openApi: async (config, form) => {
    const { openApi } = await import("./lib/server/tasks.ts");
    return openApi(config, { log: loggerOf(config), form });
  },
};

process.exitCode = await run(process.argv.slice(2), process.env, tasks);

/** Serves until SIGTERM or SIGINT. A second signal exits at once. */
async function serve(config: Config): Promise<number> {
  const { start } = await import("./lib/server/server.ts");
  const log = loggerOf(config);
  const server = await start(config, { log });
  const { url, public_url } = server;
  log.info("listening", {
    url,
    ...(public_url !== undefined && { public_url }),
    version: VERSION,
    data_path: config.dataPath,
  });
  if (server.new_key !== undefined) {
    // Not through the logger: logs are stored and shipped, and the key must be shown only once.
    printBesidesLog(`slipway: the API key, shown only now: ${server.new_key}\n`);
  }
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let asked = false;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (asked) process.exit(1);
      asked = true;
      resolve(name);
    });
  }
  try {
    await Promise.race([promise, server.composed]);
  } catch (error) {
    await server.stop(0);
    throw error;
  }
  log.info("stopping", { signal: await promise });
  await server.leave();
  await server.stop(config.drainMs);
  log.info("stopped");
  return 0;
}

function loggerOf(config: Config) {
  return createLogger({ level: config.logLevel, format: config.logFormat, clock: systemClock });
}
