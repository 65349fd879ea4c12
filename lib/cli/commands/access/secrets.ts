import type { Secret } from "../../../domain/secrets.ts";
import { about, segment } from "../../api/names.ts";
import { readHidden } from "../../hidden-input.ts";
import { contentOf } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

const PATH = "/v1/secrets";

/** `slipway secrets`: lists the secrets, never their values; `set` and `rm`. */
export const define: Define = (command, { client, out }) => {
  command.action(async () => {
    const secrets = await client().data<Secret[]>({ method: "GET", path: PATH });
    const rows = secrets.map(({ name, used_by, updated_at }) => ({
      name,
      "used by": used_by.map((fn) => fn.name ?? fn.id).join(", "),
      changed: relativeTime(updated_at),
    }));
    out.list(secrets, rows, "No secrets yet: slipway secrets set NAME makes one");
  });
  command
    .command("set")
    .description("Create a secret, or replace its value: from standard input, a file, or typed unseen")
    .argument("<name>", "Its name.")
    .argument(
      "[value]",
      "- for standard input (a newline at the end is left out), @FILE for a file; by default you are asked for it.",
    )
    .action(async (name, source) => {
      const server = client();
      const value =
        source === undefined
          ? await readHidden(`Value of ${name}: `, "slipway secrets set NAME -")
          : await textIn(source);
      const path = `${PATH}/${segment("secret", name)}`;
      const secret = await server.data<Secret>({ method: "PUT", path, body: { value } });
      out.done(secret, `Set the secret ${secret.name}`);
    });
  command
    .command("rm")
    .description("Delete secrets")
    .argument("<secret...>", "Their names.")
    .option("--force", "Even if functions use them.")
    .action(async (names, { force }) => {
      const server = client();
      for (const name of names) {
        const path = `${PATH}/${segment("secret", name)}`;
        const secret = await about(server, "secret", name, () =>
          server.data<Secret>({ method: "DELETE", path, query: { force } }),
        );
        out.done(secret, `Deleted the secret ${secret.name}`);
      }
    });
};

async function textIn(source: string): Promise<string> {
  const text = new TextDecoder().decode(await contentOf(source));
  // `echo` and `cat` end with a newline that is not meant.
  return source === "-" || source === "@-" ? text.replace(/\r?\n$/, "") : text;
}
