import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Build } from "../../../../lib/domain/builds/builds.ts";
import { packContext } from "../../../../lib/cli/deploy/context.ts";
import type { Engine } from "../../../../.ci/engine/engine.ts";
import { type EngineClient, EngineError } from "../../../../.ci/engine/engine-client.ts";
import { eventually } from "../../../support/pace.ts";

/** The files of a folder, by path. */
export type Files = Readonly<Record<string, string>>;

/** A server that builds can be sent to. */
interface Target {
  readonly url: string;
}

/** Writes files into a temporary folder, and calls `use` with it. */
export async function inFolder<T>(files: Files, use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-folder-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await Bun.write(join(directory, path), text);
    }
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Returns a build context with these files. */
export function contextOf(files: Files): Promise<Uint8Array<ArrayBuffer>> {
  return inFolder(files, async (directory) => {
    await using packed = await packContext(directory, { dockerfile: "Dockerfile", extra: {} });
    return await Bun.file(packed.path).bytes();
  });
}

/** Sends a context, and returns the answer. */
export function post(server: Target, body: Bun.BodyInit, query: Files = {}, headers: Files = {}): Promise<Response> {
  const search = new URLSearchParams({ name: "app", ...query }).toString();
  return fetch(`${server.url}/v1/builds?${search}`, { method: "POST", body, headers });
}

/** Sends files, and returns the build, which waits or runs. */
export async function begin(server: Target, files: Files, query: Files = {}): Promise<Build> {
  const response = await post(server, await contextOf(files), query);
  const { data, message } = (await response.json()) as { data: Build; message: string }; // an envelope
  if (response.status !== 202) throw new Error(`POST /v1/builds: ${response.status} ${message}`);
  return data;
}

/** Follows a build to its end, and returns its record and what it has printed. */
export async function end(server: Target, id: string): Promise<{ readonly build: Build; readonly output: string }> {
  const text = await (await fetch(`${server.url}/v1/builds/${id}/events`)).text();
  const events = text.split("\n\n").map((block) => new Map(block.split("\n").map((line) => halves(line))));
  const data = (event: Map<string, string>) => JSON.parse(event.get("data") ?? "{}") as { readonly text?: string };
  const output = events.filter((one) => one.get("event") === "log").map((one) => data(one).text ?? "");
  const { data: build } = (await (await fetch(`${server.url}/v1/builds/${id}`)).json()) as { data: Build }; // an envelope
  return { build, output: output.join("") };
}

function halves(line: string): readonly [string, string] {
  const colon = line.indexOf(": ");
  return [line.slice(0, colon), line.slice(colon + 2)];
}

/** Sends files and follows their build to its end. */
export async function build(server: Target, files: Files, query: Files = {}) {
  const { id } = await begin(server, files, query);
  return end(server, id);
}

interface ListedImage {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
}

/** Lists images, again if the engine answers that one was removed meanwhile. */
async function listed(client: EngineClient, query: string): Promise<readonly ListedImage[]> {
  for (;;) {
    try {
      return (await client.json("GET", `/images/json${query}`)) as ListedImage[]; // the engine's own format
    } catch (error) {
      if (!(error instanceof EngineError && error.status === 404)) throw error;
    }
  }
}

/** Returns what builds of these servers have left: images without a name, and containers of steps. */
export async function leftNow(client: EngineClient): Promise<string[]> {
  const filters = encodeURIComponent(JSON.stringify({ dangling: ["true"], label: ["slipway.builder"] }));
  const images = await listed(client, `?filters=${filters}`);
  const all = (await client.json(
    "GET",
    `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ label: ["slipway.builder"] }))}`,
  )) as { Names: string[] }[]; // likewise
  const steps = all.flatMap(({ Names }) => Names).filter((name) => !name.startsWith("/slipway-"));
  return [...images.map(({ Id }) => Id), ...steps];
}

/** Waits until builds have left nothing but what was there before, and returns what they have left in spite of that. */
export async function left(client: EngineClient, before: readonly string[], limitMs = 10_000): Promise<string[]> {
  let found: string[] = [];
  await eventually(async () => {
    found = (await leftNow(client)).filter((one) => !before.includes(one));
    return found.length === 0;
  }, limitMs);
  return found;
}

/** Returns the ids of all images of the engine, also of those that are only a part of others. */
export async function allImages(client: EngineClient): Promise<string[]> {
  const images = await listed(client, "?all=1");
  return images.map(({ Id }) => Id).toSorted();
}

/** Removes all images that servers have built, and those of their steps, which not every engine removes with them. */
export async function removeBuilt({ client, docker }: Pick<Engine, "client" | "docker">): Promise<void> {
  const filters = (more: object) =>
    `?filters=${encodeURIComponent(JSON.stringify({ label: ["slipway.builder"], ...more }))}`;
  const images = await listed(client, filters({}));
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => name.startsWith("slipway.local/"));
  if (names.length > 0) await docker("rmi", ...names);
  for (let [count, before] = [0, Infinity]; ; before = count) {
    const steps = await listed(client, filters({ dangling: ["true"] }));
    count = steps.length;
    if (count === 0 || count >= before) return;
    for (const { Id } of steps) await client.request("DELETE", `/images/${Id}`).catch(() => undefined);
  }
}

/** Returns whether `docker build` uses BuildKit on an engine. */
export async function usesBuildKit(client: EngineClient): Promise<boolean> {
  return (await client.request("GET", "/_ping")).headers.get("builder-version") === "2";
}
