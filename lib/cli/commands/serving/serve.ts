import type { Define } from "../../tools.ts";

/** `slipway serve`: starts the server. */
export const define: Define = (command, { tasks, config, exitWith }) => {
  command.action(async () => exitWith(await tasks.serve(config())));
};
