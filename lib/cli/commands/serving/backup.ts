import type { Define } from "../../tools.ts";

/** `slipway backup`: copies the database. */
export const define: Define = (command, { tasks, config, out }) => {
  command.argument("<FILE>", "The file to write; it must not exist.").action(async (file) => {
    await tasks.backup(config(), file);
    out.note(
      `slipway: copied the database to ${file}. The secrets in it can only be read with their key (secret.key in ` +
        `the data directory, or SECRET_KEY), which is not in the copy: keep the key, too, in another place`,
    );
  });
};
