import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import type { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { type FixtureName, fixture } from "../images.ts";
import { addLayers, MANIFEST_TYPES } from "./add-layers.ts";
import { ensureProgram, requireProgram } from "../../../.ci/packages.ts";

/** The user of a registry that requires a login. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** An image in a registry. */
export interface Pushed {
  /** With host, port and tag, as a user writes it. */
  readonly reference: string;
  /** `sha256:...` of its manifest. */
  readonly digest: string;
}

/** A registry without TLS: engines accept that on loopback. */
export interface Registry extends AsyncDisposable {
  /** Its address and port, such as `127.0.0.1:5000`. */
  readonly host: string;
  /** The directory of its blobs. */
  readonly directory: string;
  /** Pushes an image of an engine, by default of the tests' one, under a name such as `team/echo:1`, which the engine does not keep. */
  push(image: string, name: string, engine?: EngineClient): Promise<Pushed>;
  /** Puts the `chaos` function with a layer of its own there, so that a pull has something to fetch. */
  pushUnique(name: string): Promise<Pushed>;
  /** Puts a function there, with a layer for each of these files, which no engine has. */
  pushLayers(name: string, of: FixtureName, files: readonly Uint8Array<ArrayBuffer>[]): Promise<Pushed>;
  /** Breaks the last layer of a pushed image: removes its file, or replaces its bytes. */
  breakBlob(pushed: Pushed, how: "missing" | "corrupt"): Promise<void>;
  stop(): Promise<void>;
}

/** Starts Debian's docker-registry on a free port of an address, open or with one user; it ends with this process. */
export async function startRegistry(credentials?: Credentials, address = "127.0.0.1"): Promise<Registry> {
  const program = await ensureProgram("docker-registry", ["docker-registry"]);
  const directory = await mkdtemp(join(tmpdir(), "slipway-registry-"));
  const config = join(directory, "config.yml");
  await Bun.write(config, await configuration(directory, address, credentials));
  const child = Bun.spawn([requireProgram("setpriv"), "--pdeathsig", "KILL", program, "serve", config], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const host = await listeningAddress(child.stderr);
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
    await rm(directory, { recursive: true, force: true });
  };
  const push: Registry["push"] = async (image, name, engine) =>
    pushImage(engine ?? (await acquireEngine()).client, host, { image, name, credentials });
  const bases = new Map<FixtureName, Promise<Pushed>>();
  const pushLayers: Registry["pushLayers"] = async (name, of, files) => {
    const base = bases.get(of) ?? fixture(of).then((image) => push(image, `base/${of}:1`));
    bases.set(of, base);
    await base;
    const [repository = "", tag = "latest"] = name.split(":");
    const request = (path: string, init?: RequestInit) => registryRequest(host, path, credentials, init);
    const digest = await addLayers(request, { repository: `base/${of}`, tag: "1" }, { repository, tag }, files);
    return { reference: `${host}/${repository}:${tag}`, digest };
  };
  return {
    host,
    directory,
    push,
    pushUnique: (name) => pushLayers(name, "chaos", [crypto.getRandomValues(new Uint8Array(4096))]),
    pushLayers,
    breakBlob: (pushed, how) => breakBlob(host, directory, pushed, how, credentials),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function configuration(directory: string, address: string, credentials?: Credentials): Promise<string> {
  const lines = [
    "version: 0.1",
    "log: {level: info, formatter: json}",
    `storage: {filesystem: {rootdirectory: "${directory}/data"}, delete: {enabled: true}}`,
    `http: {addr: ${address}:0}`,
  ];
  if (credentials !== undefined) {
    const hash = await Bun.password.hash(credentials.password, { algorithm: "bcrypt", cost: 4 });
    await Bun.write(join(directory, "htpasswd"), `${credentials.username}:${hash}\n`);
    lines.push(`auth: {htpasswd: {realm: test, path: "${directory}/htpasswd"}}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Reads the port from the registry's log. The rest of the log is read and dropped, so that the registry does not block. */
async function listeningAddress(log: ReadableStream<Uint8Array>): Promise<string> {
  const reader = log.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`Cannot start the registry: ${text.slice(-500)}`);
    text += value;
    const address = /listening on (\d+(?:\.\d+){3}:\d+)/.exec(text)?.[1];
    if (address === undefined) continue;
    void (async () => {
      while (!(await reader.read()).done) continue;
    })();
    return address;
  }
}

interface Push {
  readonly image: string;
  readonly name: string;
  readonly credentials: Credentials | undefined;
}

async function pushImage(client: EngineClient, host: string, { image, name, credentials }: Push): Promise<Pushed> {
  const [repository, tag = "latest"] = name.split(":");
  const reference = `${host}/${repository}:${tag}`;
  await client.request("POST", `/images/${image}/tag?repo=${host}/${repository}&tag=${tag}`);
  await client.progress("POST", `/images/${host}/${repository}/push?tag=${tag}`, {
    headers: { "x-registry-auth": registryAuth(host, credentials) },
  });
  await client.request("DELETE", `/images/${reference}?noprune=1`);
  const manifest = await registryRequest(host, `${repository}/manifests/${tag}`, credentials);
  return { reference, digest: manifest.headers.get("docker-content-digest") ?? "" };
}

async function breakBlob(
  host: string,
  directory: string,
  pushed: Pushed,
  how: "missing" | "corrupt",
  credentials: Credentials | undefined,
): Promise<void> {
  const repository = pushed.reference.slice(host.length + 1).split(":")[0];
  const answer = await registryRequest(host, `${repository}/manifests/${pushed.digest}`, credentials);
  const manifest = (await answer.json()) as { layers: { digest: string }[] }; // the registry's own format
  const hash = manifest.layers.at(-1)?.digest.replace("sha256:", "") ?? "";
  const blob = join(directory, "data/docker/registry/v2/blobs/sha256", hash.slice(0, 2), hash, "data");
  if (how === "missing") await rm(blob);
  else await appendFile(blob, "spoilt");
}

async function registryRequest(
  host: string,
  path: string,
  credentials: Credentials | undefined,
  init: RequestInit = { headers: { accept: MANIFEST_TYPES } },
): Promise<Response> {
  const headers = new Headers(init.headers);
  if (credentials !== undefined)
    headers.set("authorization", `Basic ${base64(`${credentials.username}:${credentials.password}`)}`);
  const response = await fetch(`http://${host}/v2/${path}`, { ...init, headers });
  if (!response.ok) throw new Error(`The registry answered ${response.status} for ${path}: ${await response.text()}`);
  return response;
}

/** Encodes credentials as padded base64url. The engine wants a value even if the registry requires no login. */
function registryAuth(host: string, credentials: Credentials | undefined): string {
  const text = JSON.stringify(credentials === undefined ? {} : { ...credentials, serveraddress: host });
  return base64(text).replaceAll("+", "-").replaceAll("/", "_");
}

/** Encodes text as base64 of its UTF-8, which `btoa` cannot. */
function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
