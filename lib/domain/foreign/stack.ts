import { functionOf } from "../openfaas/deployment.ts";
import type { ManifestFunction } from "../manifest/manifest.ts";
import type { Part } from "./source.ts";

/** Reads a file that another one names; its path is relative to that. */
export type ReadFile = (path: string) => Promise<string>;

/** Returns whether a file is a `stack.yml` of OpenFaaS, which names its provider. */
export function isStack(value: unknown): boolean {
  return value !== null && typeof value === "object" && "provider" in value && "functions" in value;
}

/** Returns the functions of a `stack.yml`. Throws `invalid_request`. */
export async function stackFunctions(file: Part, readFile: ReadFile): Promise<Record<string, ManifestFunction>> {
  file.at("version").take();
  file.at("provider").at("name").take();
  const functions: Record<string, ManifestFunction> = {};
  for (const [name, part] of file.at("functions").parts()) functions[name] = await functionIn(name, part, readFile);
  return functions;
}

async function functionIn(service: string, part: Part, readFile: ReadFile): Promise<ManifestFunction> {
  noteBuild(part);
  const image = part.at("image").text();
  if (image === undefined) throw part.wrong('a function with an "image"');
  const envVars: Record<string, string> = {};
  for (const path of part.at("environment_file").texts()) Object.assign(envVars, await variablesIn(path, readFile));
  Object.assign(envVars, part.at("environment").map());
  const annotations = part.at("annotations").map();
  const { body } = functionOf({
    service,
    image,
    envVars,
    annotations,
    labels: part.at("labels").map(),
    secrets: part.at("secrets").texts(),
    constraints: part.at("constraints").texts(),
    limits: amounts(part.at("limits")),
    requests: amounts(part.at("requests")),
    ...optional("envProcess", part.at("fprocess").text()),
    ...optional("namespace", part.at("namespace").text()),
    ...optional("readOnlyRootFilesystem", part.at("readonly_root_filesystem").flag()),
  });
  return body;
}

function noteBuild(part: Part): void {
  const [lang, handler] = [part.at("lang").text(), part.at("handler").text()];
  if (handler === undefined && lang === undefined) return;
  const from = handler === undefined ? "" : ` from ${handler}`;
  part.note(
    `its image is not built here${from}: build it with faas-cli build, or make it a function with slipway deploy`,
  );
}

function amounts(part: Part): { memory?: string; cpu?: string } {
  return { ...optional("memory", part.at("memory").text()), ...optional("cpu", part.at("cpu").text()) };
}

async function variablesIn(path: string, readFile: ReadFile): Promise<Record<string, string>> {
  const value: unknown = Bun.YAML.parse(await readFile(path));
  const variables = value !== null && typeof value === "object" && "environment" in value ? value.environment : {};
  return Object.fromEntries(Object.entries(variables ?? {}).map(([name, one]) => [name, String(one)]));
}

/** Returns an object with a field, or without it if there is no value. */
export function optional<K extends string, V>(name: K, value: V | undefined): { readonly [N in K]?: V } {
  // A computed key loses its type.
  return (value === undefined ? {} : { [name]: value }) as { readonly [N in K]?: V };
}
