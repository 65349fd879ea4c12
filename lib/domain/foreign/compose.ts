import { settingsOfLabels } from "../images/labels.ts";
import { OWN_LABELS } from "../functions/rules.ts";
import { MEMORY_BYTES } from "../limits.ts";
import type { ManifestFunction } from "../manifest/manifest.ts";
import { cores, memoryBytes } from "../openfaas/quantities.ts";
import type { Part } from "./source.ts";
import { optional, type ReadFile } from "./stack.ts";

/** Returns whether a file is one of compose. */
export function isCompose(value: unknown): boolean {
  return value !== null && typeof value === "object" && "services" in value && !("functions" in value);
}

/** Returns the services that have a label `slipway.…` as functions; the others stay unread. Throws `invalid_request`. */
export async function composeFunctions(file: Part, readFile: ReadFile): Promise<Record<string, ManifestFunction>> {
  file.at("version").take();
  const functions: Record<string, ManifestFunction> = {};
  for (const [name, service] of file.at("services").parts()) {
    if (isFunction(service.at("labels").peeked)) functions[name] = await functionIn(name, service, readFile);
  }
  return functions;
}

function isFunction(labels: unknown): boolean {
  if (labels === null || typeof labels !== "object") return false;
  const names = Array.isArray(labels) ? labels.map(String) : Object.keys(labels);
  return names.some((name) => name.startsWith(OWN_LABELS));
}

async function functionIn(name: string, service: Part, readFile: ReadFile): Promise<ManifestFunction> {
  const image = service.at("image").text();
  if (image === undefined) throw service.wrong('a service with an "image": build it, and name it');
  const labels = service.at("labels").map();
  const own = Object.entries(labels).filter(([label]) => !label.startsWith(OWN_LABELS));
  const settings = settingsOfLabels(name, labels);
  const environment: Record<string, string> = {};
  for (const path of service.at("env_file").texts()) Object.assign(environment, variablesIn(await readFile(path)));
  Object.assign(environment, service.at("environment").map());
  const entrypoint = wordsOf(service.at("entrypoint"));
  const command = wordsOf(service.at("command"));
  return {
    image,
    ...(entrypoint.length > 0 && { entrypoint }),
    ...(command.length > 0 && { command }),
    ...(Object.keys(environment).length > 0 && { environment }),
    ...(own.length > 0 && { labels: Object.fromEntries(own) }),
    ...optional("user", service.at("user").text()),
    ...optional("working_dir", service.at("working_dir").text()),
    ...optional("read_only", service.at("read_only").flag()),
    ...resourcesOf(service),
    ...secretsOf(service.at("secrets")),
    ...volumesOf(service.at("volumes")),
    ...portOf(service, settings.contract === "http"),
    ...settings,
  };
}

/** Reads the limits of `deploy`, or the older ones of the service itself. */
function resourcesOf(service: Part) {
  const limits = service.at("deploy").at("resources").at("limits");
  const pick = (...parts: Part[]) => parts.find((part) => part.isThere);
  const memory = pick(limits.at("memory"), service.at("mem_limit"));
  const cpu = pick(limits.at("cpus"), service.at("cpus"));
  const bytes =
    memory && (memoryBytes(memory.text() ?? "", { decimal: false }) ?? refuse(memory, "an amount such as 256M"));
  const processors = cpu && (cores(cpu.text() ?? "") ?? refuse(cpu, "a number of processors"));
  return {
    ...optional("memory_bytes", bytes === undefined ? undefined : Math.max(bytes, MEMORY_BYTES.min)),
    ...optional("cpus", processors),
    ...optional("pids", pick(limits.at("pids"), service.at("pids_limit"))?.number()),
  };
}

function refuse(part: Part, expected: string): never {
  throw part.wrong(expected);
}

/** Reads secrets that are named; what the longer form says besides stays unread. */
function secretsOf(list: Part): Pick<ManifestFunction, "secrets"> {
  const names = list.parts().flatMap(([, part]) => {
    const name = typeof part.peeked === "string" ? part.text() : part.at("source").text();
    return name === undefined ? [] : [name];
  });
  return names.length === 0 ? {} : { secrets: names.map((name) => ({ name, environment: null })) };
}

/** Reads named volumes. Folders of the host stay unread: no function gets one. */
function volumesOf(list: Part): Pick<ManifestFunction, "volumes"> {
  const volumes = list.parts().flatMap(([, part]) => {
    const [, name = "", path = "", mode] = /^([A-Za-z0-9][\w.-]*):(\/[^:]*)(?::(ro|rw))?$/.exec(part.peekedText) ?? [];
    if (name === "") return [];
    part.take();
    return [{ name, path, read_only: mode === "ro" }];
  });
  return volumes.length === 0 ? {} : { volumes };
}

/** Reads the one port that a server listens on. The port of the host has no counterpart: functions are called by routes. */
function portOf(service: Part, isServer: boolean): Pick<ManifestFunction, "port"> {
  if (!isServer) return {};
  const exposed = service.at("expose").parts();
  const published = service.at("ports").parts();
  const [first] = exposed.length === 1 ? exposed : published.length === 1 ? published : [];
  const [, port] = /(?:^|:)(\d+)(?:\/tcp)?$/.exec(first?.[1].peekedText ?? "") ?? [];
  if (first === undefined || port === undefined) return {};
  const text = first[1].text() ?? "";
  if (text.includes(":")) first[1].note("functions are called by routes, so only the port of the container counts");
  return { port: Number(port) };
}

/** Returns the words of a command: as they are in a list, or as a shell would split a text. */
function wordsOf(part: Part): string[] {
  if (part.isList) return part.texts();
  const text = part.text() ?? "";
  return [...text.matchAll(/(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*')+/g)].map(([word]) =>
    word.replaceAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, double?: string, single?: string) =>
      double === undefined ? (single ?? "") : double.replaceAll(/\\(.)/g, "$1"),
    ),
  );
}

/** Reads `NAME=value` lines. */
function variablesIn(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.trim());
  return Object.fromEntries(
    lines
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const [name = "", ...rest] = line.replace(/^export /, "").split("=");
        return [
          name.trim(),
          rest
            .join("=")
            .trim()
            .replace(/^(["'])(.*)\1$/, "$2"),
        ];
      }),
  );
}
