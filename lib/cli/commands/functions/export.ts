import type { Manifest } from "../../../domain/manifest/manifest.ts";
import { printableLines } from "../../output/printable.ts";
import type { Define } from "../../tools.ts";

/** `slipway export`: prints the server's manifest, as YAML or as JSON. */
export const define: Define = (command, { client, out }) => {
  command.action(async () => {
    if (out.json) return out.value(await client().data<Manifest>({ method: "GET", path: "/v1/export" }));
    const headers = { Accept: "application/yaml, application/json" };
    const text = (await client().text({ method: "GET", path: "/v1/export", headers })).trimEnd();
    out.raw(`${out.isTerminal ? printableLines(text) : text}\n`);
  });
};
