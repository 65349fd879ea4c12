import type { Registry, RegistryImport } from "../../../domain/images/registries.ts";
import { about, segment } from "../../api/names.ts";
import { readHidden } from "../../hidden-input.ts";
import { contentOf } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

const PATH = "/v1/registries";

/** `slipway registries`: lists the registries with credentials; `set`, `import` and `rm`. */
export const define: Define = (command, { client, out }) => {
  command.action(async () => {
    const registries = await client().data<Registry[]>({ method: "GET", path: PATH });
    const rows = registries.map(({ host, kind, username, checked_at, updated_at }) => ({
      host,
      kind,
      username,
      checked: relativeTime(checked_at),
      changed: relativeTime(updated_at),
    }));
    out.list(registries, rows, "No registries yet: slipway registries set HOST --username USER stores credentials");
  });
  command
    .command("set")
    .description("Store credentials for the images of a registry, which checks them")
    .argument("<registry>", "Its host, such as ghcr.io or registry.example.com:5000.")
    .requiredOption("-u, --username <user>", "The user.")
    .option("--password-stdin", "Read the password from standard input; by default you are asked for it.")
    .option("--unchecked", "Store them without asking the registry.")
    .action(async (host, { username, passwordStdin, unchecked }) => {
      const server = client();
      const password =
        passwordStdin === true
          ? (await Bun.stdin.text()).replace(/\r?\n$/, "")
          : await readHidden(`Password of ${username} at ${host}: `, "--password-stdin");
      const registry = await server.data<Registry>({
        method: "PUT",
        path: `${PATH}/${segment("registry", host)}`,
        query: { check: unchecked === true ? false : undefined },
        body: { username, password },
      });
      out.done(registry, `Stored the credentials of ${registry.host}`);
    });
  command
    .command("import")
    .description("Store the credentials that docker login has left in a config.json")
    .argument("<FILE>", "The file, such as ~/.docker/config.json; - for standard input.")
    .action(async (file) => {
      const body = await contentOf(file === "-" ? file : `@${file}`);
      const done = await client().data<RegistryImport>({ method: "POST", path: `${PATH}/import`, body });
      if (out.json) return out.value(done);
      for (const { host } of done.imported) out.line(`Stored the credentials of ${host}`);
      for (const { entry, problem } of done.skipped) out.note(`slipway: left out ${entry}: ${problem}`);
    });
  command
    .command("rm")
    .description("Delete the credentials of registries")
    .argument("<registry...>", "Their hosts.")
    .action(async (hosts) => {
      const server = client();
      for (const host of hosts) {
        const path = `${PATH}/${segment("registry", host)}`;
        const registry = await about(server, "registry", host, () => server.data<Registry>({ method: "DELETE", path }));
        out.done(registry, `Deleted the credentials of ${registry.host}`);
      }
    });
};
