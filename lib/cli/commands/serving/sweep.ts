import type { Define } from "../../tools.ts";

/** `slipway sweep`: removes what a killed server left on the engine. */
export const define: Define = (command, { tasks, config, out }) => {
  command
    .description(
      "Remove the containers that a killed server left on the engine; only while no server uses the data directory",
    )
    .action(async () => {
      const removed = await tasks.sweep(config());
      out.note(`slipway: ${removed === 1 ? "1 leftover container" : `${removed} leftover containers`} removed`);
    });
};
