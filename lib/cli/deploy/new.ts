import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../../config/config.ts";
import { SAMPLES } from "./samples.ts";
import { TEMPLATE_NAMES, type TemplateName } from "./templates.ts";

/** Writes the sample of a template into a new folder, or an empty one, and returns the names of its files. */
export async function writeSample(directory: string, template: string): Promise<string[]> {
  if (!isTemplate(template)) {
    throw new ConfigError(`No template "${template}": give one of ${TEMPLATE_NAMES.join(", ")}`);
  }
  if (directory === "") throw new ConfigError("No folder to write to: give the new folder a name");
  await mkdir(directory, { recursive: true });
  if ((await readdir(directory)).length > 0) {
    throw new ConfigError(`The folder "${directory}" is not empty: choose another name`);
  }
  const files = Object.entries(SAMPLES[template]);
  for (const [name, text] of files) await writeFile(join(directory, name), text, { flag: "wx" });
  return files.map(([name]) => name);
}

function isTemplate(text: string): text is TemplateName {
  return TEMPLATE_NAMES.some((name) => name === text);
}
