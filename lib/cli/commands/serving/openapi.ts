import type { Define } from "../../tools.ts";

/** `slipway openapi`: prints the OpenAPI document. */
export const define: Define = (command, { tasks, config, out }) => {
  command
    .option("--full", "With every form of an answer: events and problem details, too.")
    .action(async ({ full }) => out.raw(`${await tasks.openApi(config(), full === true ? "full" : "plain")}\n`));
};
