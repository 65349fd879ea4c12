import { ConfigError } from "../../../config/config.ts";
import { readSavedServers, savedServer, writeSavedServers } from "../../api/saved-servers.ts";
import type { Define } from "../../tools.ts";

/** `slipway logout`: forgets a saved server and its key. */
export const define: Define = (command, { env, out }) => {
  command.argument("[server]", "Its name; by default the one that commands call.").action((name) => {
    const saved = readSavedServers(env);
    const server = savedServer(saved, name ?? null);
    if (server === undefined) throw new ConfigError('No server is saved: "slipway servers" lists them');
    const servers = saved.servers.filter((one) => one.name !== server.name);
    const current = saved.current === server.name ? null : saved.current;
    writeSavedServers(env, { current, servers });
    out.done({ name: server.name, url: server.url }, `Forgot ${server.name} and its key. The key itself stays valid`);
  });
};
