import { readSavedServers, savedServer, writeSavedServers } from "../../api/saved-servers.ts";
import type { Define } from "../../tools.ts";

/** `slipway servers`: lists the saved servers, without their keys; `use`. */
export const define: Define = (command, { env, out }) => {
  command.action(() => {
    const { current, servers } = readSavedServers(env);
    const shown = servers.map(({ name, url, key, ca }) => ({
      name,
      url,
      current: name === current,
      has_key: key !== null,
      ca,
    }));
    const rows = shown.map((one) => ({
      name: one.name,
      url: one.url,
      current: one.current ? "yes" : "",
      key: one.has_key ? "yes" : "none",
    }));
    out.list(shown, rows, "No saved servers: slipway login URL saves one");
  });
  command
    .command("use")
    .description("Choose the server that commands call")
    .argument("<server>", "Its name.")
    .action((name) => {
      const saved = readSavedServers(env);
      const server = savedServer(saved, name);
      writeSavedServers(env, { ...saved, current: name });
      out.done({ name, url: server?.url }, `Commands call ${server?.url} now`);
    });
};
