import { writeSample } from "../../deploy/new.ts";
import { TEMPLATE_NAMES } from "../../deploy/templates.ts";
import type { Define } from "../../tools.ts";

/** `slipway new`: writes the sample of a template into a new folder. */
export const define: Define = (command, { out }) => {
  command
    .argument("<folder>", "The folder, which is also the name of the function.")
    .option("--template <name>", `What to write: ${TEMPLATE_NAMES.join(", ")}.`, "script")
    .action(async (folder, { template }) => {
      const files = await writeSample(folder, template);
      out.done(
        { folder, template, files },
        `Wrote ${files.join(", ")} to ${folder}: "slipway deploy ${folder}" puts it online`,
      );
    });
};
