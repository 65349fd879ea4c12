import type { Manifest } from "../../domain/manifest/manifest.ts";
import { SlicedText } from "./text.ts";

/** The parts of a manifest that may have thousands of entries. */
const LONG_PARTS = ["functions", "routes"] as const;

/** Returns a manifest as YAML, the same as `Bun.YAML.stringify` makes of the whole, in slices. */
export async function manifestYaml(manifest: Manifest): Promise<Uint8Array<ArrayBuffer>> {
  const written = new SlicedText();
  for (const [part, value] of Object.entries(manifest)) {
    const entries = LONG_PARTS.some((name) => name === part) ? Object.entries(value) : [];
    if (entries.length === 0) written.add(lines({ [part]: value }));
    else written.add(`${part}:\n`);
    for (const [name, entry] of entries) {
      // Object.fromEntries, since a name may be `__proto__`. The first line is the part's, as above.
      written.add(lines({ [part]: Object.fromEntries([[name, entry]]) }).slice(part.length + 2));
      await written.rest();
    }
  }
  return written.bytes();
}

function lines(value: object): string {
  return `${Bun.YAML.stringify(value, null, 2)}\n`;
}
