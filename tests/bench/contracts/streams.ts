import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { ensureProgram, runOrThrow } from "../../../.ci/packages.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import type { Bench } from "../bench.ts";
import { residentBytes } from "../binary.ts";
import { compareRates, figure, type Measurement, type Rate, times } from "../compare.ts";
import { median } from "../statistics.ts";
import { expressApp, runAsFunction, runDirectly } from "./app.ts";

const MIB = 1024 * 1024;
/** The amount that is streamed in each measurement, in MiB. A request cannot be longer than 64 MiB. */
const DOWNLOAD_MIB = 256;
const UPLOAD_MIB = 60;
const STALLED_MIB = 200;
const STALL_MS = 20_000;
/** The amount that the client that stalls takes before it does, in bytes. */
const TAKEN_BYTES = 8 * MIB;
/** Streams of which the first byte is measured in each round. */
const FIRST_BYTES = 50;

/** Measures streams from and to a function that is a server, beside the same by the address of its container. */
export async function streams({ docker, rounds }: Bench): Promise<readonly Measurement[]> {
  const app = await expressApp(docker);
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100", MAX_REQUEST_BYTES: "64MiB" });
  await using direct = await runDirectly(docker, app);
  const url = await runAsFunction(server, app);
  return [
    await compareRates("streamFrom", rounds, await both(download, url, direct.url), " MiB/s"),
    await compareRates("streamTo", rounds, await both(upload, url, direct.url), " MiB/s"),
    await throughEngine(docker, app.image, rounds, direct.url),
    await firstByte(rounds, url, direct.url),
    await stalled(server.pid, url),
  ];
}

async function both(
  rateOf: (curl: string, url: string) => Promise<number>,
  url: string,
  direct: string,
): Promise<readonly [Rate, Rate]> {
  const curl = await ensureProgram("curl", ["curl"]);
  await rateOf(curl, url);
  return [
    { name: "function", measure: () => rateOf(curl, url) },
    { name: "by its address", measure: () => rateOf(curl, direct) },
  ];
}

/** The rate that a server of ours could reach if it did nothing but read: the engine's shim and the engine copy each byte, too. */
async function throughEngine(docker: string, image: string, rounds: number, direct: string): Promise<Measurement> {
  const curl = await ensureProgram("curl", ["curl"]);
  const client = new EngineClient(docker);
  return compareRates(
    "streamAttach",
    rounds,
    [
      { name: "the engine's attach stream", measure: () => attached(client, image) },
      { name: "by its address", measure: () => download(curl, direct) },
    ],
    " MiB/s",
  );
}

/** Returns the MiB per second of a container's output, from its first byte on. */
async function attached(client: EngineClient, image: string): Promise<number> {
  const Entrypoint = ["dd", "if=/dev/zero", `count=${16 * DOWNLOAD_MIB}`, "bs=65536", "status=none"];
  const settings = { Image: image, Entrypoint, AttachStdout: true, HostConfig: { LogConfig: { Type: "none" } } };
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(settings);
  const made = await client.json("POST", "/containers/create", { body, headers });
  const { Id } = made as { Id: string }; // the engine's own format
  try {
    const { body: output }: { readonly body: ReadableStream<Uint8Array> | null } = await client.request(
      "POST",
      `/containers/${Id}/attach?stream=1&stdout=1`,
    );
    await client.request("POST", `/containers/${Id}/start`);
    let bytes = 0;
    let began = 0;
    for await (const piece of output ?? []) {
      began ||= performance.now();
      bytes += piece.length;
    }
    if (bytes < DOWNLOAD_MIB * MIB) throw new Error(`The output of a container was cut after ${bytes} bytes`);
    return DOWNLOAD_MIB / ((performance.now() - began) / 1000);
  } finally {
    await client.request("DELETE", `/containers/${Id}?force=1`);
  }
}

/** Returns the MiB per second that a client gets which does nothing with them. */
async function download(curl: string, url: string): Promise<number> {
  const format = ["--write-out", "%{size_download} %{speed_download}"];
  const said = await runOrThrow([curl, "-sS", "-o", "/dev/null", ...format, `${url}/bytes/${DOWNLOAD_MIB}`]);
  return speedOf(said, DOWNLOAD_MIB);
}

async function upload(curl: string, url: string): Promise<number> {
  const file = join(tmpdir(), `slipway-bench-${process.pid}.bin`);
  await Bun.write(file, new Uint8Array(UPLOAD_MIB * MIB));
  try {
    const body = ["-H", "Content-Type: application/octet-stream", "-H", "Expect:", "--data-binary", `@${file}`];
    const format = ["--write-out", "%{size_upload} %{speed_upload}"];
    return speedOf(await runOrThrow([curl, "-sS", "-o", "/dev/null", ...format, ...body, `${url}/bytes`]), UPLOAD_MIB);
  } finally {
    await Bun.file(file).delete();
  }
}

function speedOf(said: string, mib: number): number {
  const [bytes, speed] = said.split(" ").map(Number);
  if (bytes !== mib * MIB || speed === undefined) throw new Error(`A stream was cut: ${said}`);
  return speed / MIB;
}

async function firstByte(rounds: number, url: string, direct: string): Promise<Measurement> {
  const sides = [
    { name: "function", url, all: [] as number[] },
    { name: "by its address", url: direct, all: [] as number[] },
  ];
  const later: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const medians: number[] = [];
    for (const side of sides) {
      const sample: number[] = [];
      for (let i = 0; i < FIRST_BYTES; i++) sample.push(await firstByteOf(side.url));
      side.all.push(...sample);
      medians.push(median(sample));
    }
    later.push((medians[0] ?? Number.NaN) - (medians[1] ?? Number.NaN));
  }
  return figure(
    "streamFirstByte",
    later,
    "ms",
    sides.map(({ name, all }) => ({ name, figure: times(all), median: median(all) })),
  );
}

/** Returns the milliseconds to the first byte of a body, and reads the rest. */
async function firstByteOf(url: string): Promise<number> {
  const began = performance.now();
  const body: ReadableStream<Uint8Array> | null = (await fetch(`${url}/events`)).body;
  let took: number | undefined;
  for await (const piece of body ?? []) if (piece.length > 0) took ??= performance.now() - began;
  if (took === undefined) throw new Error("A stream of events was empty");
  return took;
}

/** Returns how much the server's memory grows while a client rests in the middle of a stream, and after. */
async function stalled(pid: number, url: string): Promise<Measurement> {
  // The first stream has grown heaps and buffers to what any stream needs.
  await takeStream(url, async () => undefined);
  await Bun.sleep(2_000);
  const before = residentBytes(pid);
  let most = before;
  const look = setInterval(() => (most = Math.max(most, residentBytes(pid))), 50);
  const took = await takeStream(url, () => Bun.sleep(STALL_MS)).finally(() => clearInterval(look));
  return figure("streamStalled", [(most - before) / MIB], "MiB", [
    { name: "before", figure: `${(before / MIB).toFixed(0)} MiB` },
    { name: "all of it arrived, after", figure: `${(took / 1000).toFixed(0)} s` },
  ]);
}

/** Takes a stream by a client that rests once, and returns the milliseconds that it took. */
async function takeStream(url: string, rest: () => Promise<void>): Promise<number> {
  const { hostname, port, pathname } = new URL(`${url}/bytes/${STALLED_MIB}`);
  const began = performance.now();
  const socket = connect(Number(port), hostname);
  const ended = Promise.withResolvers<void>();
  let bytes = 0;
  let rested = false;
  socket.on("data", (piece: Uint8Array) => {
    bytes += piece.length;
    if (rested || bytes < TAKEN_BYTES) return;
    rested = true;
    socket.pause();
    void rest().then(() => socket.resume());
  });
  socket.on("error", ended.reject);
  socket.on("close", () => ended.resolve());
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`);
  await ended.promise;
  if (bytes < STALLED_MIB * MIB) throw new Error(`The client that rested got ${bytes} bytes`);
  return performance.now() - began;
}
