import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ensureProgram, runOrThrow } from "../../../.ci/packages.ts";

/** Has the program that a configuration file is for check it, or reads it where that program cannot be here. */
export async function checkFile(kind: string, text: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  switch (kind) {
    case "caddy": {
      const caddy = await ensureProgram("caddy", ["caddy"]);
      await Bun.write(path, text);
      await runOrThrow([caddy, "validate", "--adapter", "caddyfile", "--config", path]);
      return;
    }
    case "nginx": {
      const nginx = await ensureProgram("nginx", ["nginx-light"]);
      // Certificates of a site are not here, and a listener without them says nothing else.
      const site = text.replace(/^\s*ssl_certificate(_key)? .*$/gm, "").replaceAll(" ssl;", ";");
      await Bun.write(path, `pid ${path}.pid;\nerror_log stderr;\nevents {}\nhttp {\n${site}\n}\n`);
      await runOrThrow([nginx, "-t", "-q", "-c", path]);
      return;
    }
    case "yaml":
      Bun.YAML.parse(text);
      return;
    case "dockerfile labels": {
      if (!/^LABEL( slipway\.[a-z_]+=\S+)+$/.test(text)) throw new Error(`Not a LABEL of settings: ${text}`);
      return;
    }
    default:
      throw new Error(`Nobody knows how to check "${kind}"`);
  }
}
