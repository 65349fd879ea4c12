import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { ConfigError } from "../../../config/config.ts";
import { closestName } from "../../api/names.ts";
import type { Define } from "../../tools.ts";

/** `slipway help`: prints the help of the program or of a command. */
export const define: Define = (command, { wholeProgram }) => {
  command.argument("[command...]", "The command.").action(async (words) => {
    let shown: CommandUnknownOpts = await wholeProgram();
    for (const word of words) {
      const names = shown.commands.map((one) => one.name());
      const next = shown.commands.find((one) => one.name() === word);
      if (next === undefined) {
        const hint = closestName(word, names);
        throw new ConfigError(
          `Unknown command ${JSON.stringify(word)}: ${hint === undefined ? "see slipway help" : `did you mean "${hint}"?`}`,
        );
      }
      shown = next;
    }
    shown.outputHelp();
  });
};
