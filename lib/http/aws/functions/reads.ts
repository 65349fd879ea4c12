import type { Function } from "../../../domain/functions/functions.ts";
import { cursorOf, parsePageQuery } from "../../../domain/functions/pages.ts";
import { parseVersionQuery } from "../../../domain/functions/versions.ts";
import { quoted } from "../../../domain/quoted.ts";
import { codeOf, configurationOf, tagsOf } from "./configuration.ts";
import { AwsError } from "../wire/errors.ts";
import { LATEST } from "../wire/function-names.ts";
import { atQualifier, findFunction } from "../wire/qualified.ts";
import type { AwsRequest, AwsTools } from "../wire/tools.ts";

/** The most functions or versions of one answer, which is AWS's own limit. */
const MAX_ITEMS = 50;

/** `ListFunctions`: a page of them, oldest first. */
export async function listFunctions({ functions }: AwsTools, { query }: AwsRequest) {
  if (query.get("FunctionVersion") === "ALL") {
    throw new AwsError(
      "InvalidParameterValueException",
      "Invalid FunctionVersion: the versions of each function are in ListVersionsByFunction, leave it out",
    );
  }
  const asked = parsePageQuery({ ...markerOf(query), limit: String(maxItems(query)) });
  if (asked === undefined) throw new Error("A page was asked for");
  const page = await functions.page(asked);
  return withMarker({ Functions: page.records.map((fn) => configurationOf(fn, LATEST)) }, cursorOf(page));
}

/** `GetFunction`: how it is configured, its image and its tags. */
export async function getFunction(tools: AwsTools, asked: AwsRequest) {
  const { fn, version } = await qualified(tools, asked);
  const { max_concurrency } = fn;
  const tags = tagsOf(fn);
  return {
    Configuration: configurationOf(fn, version),
    Code: codeOf(fn),
    ...(Object.keys(tags).length > 0 && { Tags: tags }),
    ...(max_concurrency > 0 && { Concurrency: { ReservedConcurrentExecutions: max_concurrency } }),
  };
}

/** `GetFunctionConfiguration`. */
export async function getFunctionConfiguration(tools: AwsTools, asked: AwsRequest) {
  const { fn, version } = await qualified(tools, asked);
  return configurationOf(fn, version);
}

/** `ListVersionsByFunction`: the function as it is now, then its versions, newest first. */
export async function listVersions(tools: AwsTools, asked: AwsRequest) {
  const { versions } = tools;
  const { fn } = findFunction(tools, asked);
  const { query } = asked;
  const isFirst = markerOf(query).cursor === undefined;
  const page = await versions.list(fn.id, parseVersionQuery({ ...markerOf(query), limit: String(maxItems(query)) }));
  const found = page.versions.map((version) =>
    configurationOf({ ...fn, ...version, updated_at: version.created_at }, String(version.version)),
  );
  return withMarker({ Versions: isFirst ? [configurationOf(fn, LATEST), ...found] : found }, page.next_cursor);
}

async function qualified(tools: AwsTools, asked: AwsRequest): Promise<{ fn: Function; version: string }> {
  const { fn, qualifier } = findFunction(tools, asked);
  const found = await atQualifier(tools, fn, qualifier);
  return { fn: found.function, version: found.version };
}

function markerOf(query: URLSearchParams): { cursor?: string } {
  const marker = query.get("Marker");
  return marker === null || marker === "" ? {} : { cursor: marker };
}

function maxItems(query: URLSearchParams): number {
  const text = query.get("MaxItems") ?? String(MAX_ITEMS);
  const count = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= 10_000) return Math.min(count, MAX_ITEMS);
  throw new AwsError("InvalidParameterValueException", `Invalid MaxItems ${quoted(text, 40)}: give 1 to 10000`);
}

function withMarker<T extends object>(page: T, marker: string | null) {
  return { ...page, ...(marker !== null && { NextMarker: marker }) };
}
