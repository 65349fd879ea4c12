import { applyFile } from "./lib/cli/apply.ts";
import { parseCommand, type Command } from "./lib/cli/command.ts";
import { printExport } from "./lib/cli/export.ts";
import { systemClock } from "./lib/clock.ts";
import { type Config, ConfigError } from "./lib/config/config.ts";
import { messageOf } from "./lib/domain/errors.ts";
import { healthcheck } from "./lib/cli/healthcheck.ts";
import { helpText } from "./lib/cli/help.ts";
import { createLogger } from "./lib/log.ts";
import { backupDatabase } from "./lib/server/data.ts";
import { sweep } from "./lib/server/platform.ts";
import { openApi, start } from "./lib/server/server.ts";
import { VERSION } from "./lib/version.ts";

try {
  process.exitCode = await run(parseCommand(process.argv.slice(2), process.env));
} catch (error) {
  console.error(`slipway: ${messageOf(error)}`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}

async function run(command: Command): Promise<number> {
  switch (command.command) {
    case "serve":
      return serve(command.config);
    case "healthcheck":
      return healthcheck(command.config);
    case "apply":
      return applyFile(command, process.env);
    case "export":
      return printExport(command.config);
    case "backup":
      backupDatabase(command.config, command.file);
      console.error(
        `slipway: copied the database to ${command.file}. The secrets in it can only be read with their key (secret.key in ` +
          `the data directory, or SECRET_KEY), which is not in the copy: keep the key, too, in another place`,
      );
      return 0;
    case "sweep": {
      const removed = await sweep(command.config, loggerOf(command.config));
      console.error(`slipway: ${removed === 1 ? "1 leftover container" : `${removed} leftover containers`} removed`);
      return 0;
    }
    case "openapi":
      console.log(await openApi(command.config, { log: loggerOf(command.config) }));
      return 0;
    case "help":
      console.log(helpText());
      return 0;
    case "version":
      console.log(`slipway ${VERSION}`);
      return 0;
  }
}

/** Serves until SIGTERM or SIGINT. A second signal exits at once. */
async function serve(config: Config): Promise<number> {
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
    console.error(`slipway: the API key, shown only now: ${server.new_key}`);
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
  log.info("stopping", { signal: await promise });
  await server.stop(config.drainMs);
  log.info("stopped");
  return 0;
}

function loggerOf(config: Config) {
  return createLogger({ level: config.logLevel, format: config.logFormat, clock: systemClock });
}
