import { type Key, type NewKey, SCOPES } from "../../../domain/keys.ts";
import { Option } from "@commander-js/extra-typings";
import type { ApiClient } from "../../api/api-client.ts";
import { about, segment, unknownName } from "../../api/names.ts";
import { CommandError } from "../../exit-codes.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

const PATH = "/v1/keys";

/** `slipway keys`: lists the API keys; `create` and `revoke`. */
export const define: Define = (command, { client, out }) => {
  command.action(async () => {
    const keys = await client().data<Key[]>({ method: "GET", path: PATH });
    const rows = keys.map((key) => ({
      id: key.id,
      name: key.name,
      scopes: key.scopes.join(","),
      function: key.function_id ?? "all",
      status: statusOf(key),
      "last used": relativeTime(key.last_used_at),
    }));
    out.list(keys, rows, "No keys yet: slipway keys create NAME makes one");
  });
  command
    .command("create")
    .description("Create a key, and print its token: the server shows it only now")
    .argument("<name>", "What the key is for.")
    .addOption(new Option("--scope <scope...>", "What the key may do.").choices(SCOPES).makeOptionMandatory())
    .option("--function <function>", "With the scope invoke: the only function that it may call, by its name or id.")
    .option("--expires <time>", "When it expires, such as 2027-01-31T12:00:00Z.")
    .action(async (name, { scope, function: only, expires }) => {
      const server = client();
      const fn =
        only === undefined
          ? undefined
          : await about(server, "function", only, () =>
              server.data<{ id: string }>({ method: "GET", path: `/v1/functions/${segment("function", only)}` }),
            );
      const body = { name, scopes: scope, function_id: fn?.id, expires_at: expires };
      const key = await server.data<NewKey>({ method: "POST", path: PATH, body });
      if (out.json) return out.value(key);
      out.line(key.token);
      if (out.isTerminal) out.note("This is the token of the new key. The server shows it only now.");
    });
  command
    .command("revoke")
    .description("Revoke a key: it is refused from the next request on")
    .argument("<key>", "Its id, or its name if no other key has it.")
    .action(async (text) => {
      const server = client();
      const { id } = await findKey(server, text);
      const key = await server.data<Key>({ method: "DELETE", path: `${PATH}/${segment("key", id)}` });
      out.done(key, `Revoked the key ${key.name} (${key.id})`);
    });
};

async function findKey(server: ApiClient, text: string): Promise<Key> {
  const keys = await server.data<Key[]>({ method: "GET", path: PATH });
  const byId = keys.find(({ id }) => id === text);
  if (byId !== undefined) return byId;
  const named = keys.filter(({ name }) => name === text);
  const usable = named.filter(({ revoked_at }) => revoked_at === null);
  const [found, ...more] = usable.length > 0 ? usable : named;
  if (found === undefined) throw await unknownName(server, "key", text);
  if (more.length === 0) return found;
  const ids = [found, ...more].map(({ id }) => id).join(", ");
  throw new CommandError(
    `${more.length + 1} keys have the name ${JSON.stringify(text)}: name one of them by its id (${ids})`,
  );
}

function statusOf({ revoked_at, expires_at }: Key): string {
  if (revoked_at !== null) return "revoked";
  return expires_at !== null && Date.parse(expires_at) <= Date.now() ? "expired" : "active";
}
