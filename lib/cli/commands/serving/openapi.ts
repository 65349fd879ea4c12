import type { Define } from "../../tools.ts";

/** `slipway openapi`: prints the OpenAPI document. */
export const define: Define = (command, { tasks, config, out }) => {
  command.action(async () => out.raw(`${await tasks.openApi(config())}\n`));
};
