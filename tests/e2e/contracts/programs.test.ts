import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** Programs of Debian that know nothing of functions, each as it is. */
let server: TestServer;
let image: string;
let ffmpeg: string;
/** Fetching ffmpeg, which happens once on a machine, and making an image of it. */
const SETUP_TIMEOUT_MS = 300_000;

beforeAll(async () => {
  image = await fixture("programs");
  ffmpeg = await fixture("ffmpeg");
  server = await TestServer.start();
}, SETUP_TIMEOUT_MS);
afterAll(() => server[Symbol.asyncDispose]());

function program(name: string, command: readonly string[], settings: Partial<Function> = {}): Promise<Function> {
  return server.createFunction(image, { name, command: [...command], network: "none", ...settings });
}

async function route(path: string, name: string, methods: readonly string[] = ["GET", "POST"]): Promise<string> {
  const { body } = await server.api("POST", "/v1/routes", { path, function_id: name, methods });
  if (!body.success) throw new Error(body.message);
  return `${server.url}/r${path.replace("/*", "")}`;
}

test("jq filters JSON, and its errors are in the log", async () => {
  const fn = await program("jq", ["jq", "-c", "{sum: (.numbers | add)}"], { content_type: "application/json" });
  const answer = await server.invoke(fn, { numbers: [1, 2, 39] });
  expect([answer.status, answer.headers.get("content-type"), await answer.text()]).toEqual([
    200,
    "application/json",
    '{"sum":42}\n',
  ]);
  const wrong = await server.invoke(fn, "{");
  expect(wrong.status).toBe(502);
  const code = wrong.headers.get("x-function-exit-code");
  expect(Number(code)).toBeGreaterThan(0);
  expect(await wrong.json()).toMatchObject({
    reason: "function_failed",
    message: `The function exited with code ${code} and printed no response: see its logs`,
  });
  const logs = await server.logs(wrong.headers.get("x-request-id") ?? "");
  expect(logs.entries).toMatchObject([{ stream: "stderr", text: expect.stringContaining("parse error") }]);
});

test("sox converts sound while it arrives", async () => {
  const fn = await program("sox", [
    "sox",
    "-t",
    "raw",
    "-r",
    "48000",
    "-e",
    "signed",
    "-b",
    "16",
    "-c",
    "2",
    "-",
    "-t",
    "wav",
    "-r",
    "8000",
    "-c",
    "1",
    "-",
  ]);
  const answer = await server.invoke(fn, new Uint8Array(4 << 20));
  const wav = Buffer.from(await answer.arrayBuffer());
  expect([answer.status, wav.toString("latin1", 0, 4), wav.toString("latin1", 8, 12)]).toEqual([200, "RIFF", "WAVE"]);
  expect(wav.length).toBeWithin(340_000, 360_000); // a twelfth: one channel of two, one sample of six
});

describe("ffmpeg", () => {
  const size = 64;
  /** Half a second of a red picture, uncompressed. */
  const film = () => {
    const pixel = new Uint8Array([255, 0, 0]);
    return new Uint8Array(Buffer.alloc(12 * size * size * 3, pixel));
  };
  const raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${size}x${size}`, "-r", "24", "-i", "-"];

  test("converts a film while it arrives", async () => {
    const command = [...raw, "-f", "gif", "-"];
    const fn = await server.createFunction(ffmpeg, {
      command,
      network: "none",
      content_type: "image/gif",
    });
    expect([fn.contract, fn.contract_reason]).toEqual(["stdio", "label"]);
    const answer = await server.invoke(fn, film());
    const gif = Buffer.from(await answer.arrayBuffer());
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "image/gif"]);
    expect([gif.toString("latin1", 0, 6), gif.readUInt16LE(6), gif.readUInt16LE(8)]).toEqual(["GIF89a", size, size]);
  });

  test("writes an MP4, and reads it, in a file of the context", async () => {
    const settings: Partial<Function> = { entrypoint: ["sh", "-c"], network: "none" };
    const write = `ffmpeg -loglevel error ${raw.join(" ")} $CONTEXT_PATH/out.mp4 && cat $CONTEXT_PATH/out.mp4`;
    const still = "-ss 0.2 -frames:v 1 -f image2pipe -c:v png -";
    const read = `cat > $CONTEXT_PATH/in.mp4 && ffmpeg -loglevel error -i $CONTEXT_PATH/in.mp4 ${still}`;
    const writer = await server.createFunction(ffmpeg, { ...settings, command: [write] });
    const reader = await server.createFunction(ffmpeg, { ...settings, command: [read] });
    const mp4 = new Uint8Array(await (await server.invoke(writer, film())).arrayBuffer());
    expect(Buffer.from(mp4).toString("latin1", 4, 8)).toBe("ftyp");
    const png = Buffer.from(await (await server.invoke(reader, mp4)).arrayBuffer());
    expect([png.toString("latin1", 1, 4), png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(["PNG", size, size]);
  });
});

describe("php-cgi", () => {
  let url = "";
  beforeAll(async () => {
    await program("php", ["php-cgi"], { output: "cgi", environment: { SCRIPT_FILENAME: "/app/index.php" } });
    url = await route("/php/*", "php");
  });

  test("runs a page with its query, its form, its cookies and its path", async () => {
    const answer = await fetch(`${url}/some/path?a=1`, {
      method: "POST",
      headers: {
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "tests",
        Proxy: "http://evil.example",
      },
      body: "b=2&c=%C3%A9",
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-script")).toBe("/r/php");
    expect(answer.headers.get("set-cookie")).toStartWith("seen=1");
    expect(answer.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    expect(await answer.json()).toEqual({
      method: "POST",
      path: "/some/path",
      query: { a: "1" },
      form: { b: "2", c: "é" },
      body: 12,
      agent: "tests",
      address: "127.0.0.1",
    });
  });

  test("decides status and redirection", async () => {
    expect((await fetch(`${url}?gone`)).status).toBe(410);
    const moved = await fetch(`${url}?go=/r/elsewhere`, { redirect: "manual" });
    expect([moved.status, moved.headers.get("location")]).toEqual([302, "/r/elsewhere"]);
  });

  test("reads a body of 5 MiB", async () => {
    const answer = await fetch(url, { method: "POST", body: new Uint8Array(5 << 20) });
    expect(await answer.json()).toMatchObject({ method: "POST", body: 5 << 20 });
  });
});

test("a CGI script of Perl answers a form", async () => {
  await program("perl", ["perl", "/app/form.pl"], { output: "cgi" });
  const answer = await fetch(await route("/form", "perl"), { method: "POST", body: "name=Ada" });
  expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(await answer.text()).toBe("<p>Hello, Ada, from 127.0.0.1</p>\n");
});

test("git clones a repository from git-http-backend", async () => {
  const serve = [
    "git init -q --bare /srv/demo.git",
    "printf 'commit refs/heads/master\\ncommitter A <a@example.com> 0 +0000\\ndata 5\\nfirst\\nM 644 inline hello\\ndata 6\\nworld\\n\\n' | git -C /srv/demo.git fast-import --quiet",
    "exec /usr/lib/git-core/git-http-backend",
  ].join(" && ");
  await program("git", ["sh", "-c", serve], {
    output: "cgi",
    environment: { GIT_PROJECT_ROOT: "/srv", GIT_HTTP_EXPORT_ALL: "1", HOME: "/tmp" },
  });
  const url = await route("/git/*", "git");
  const directory = await mkdtemp(join(tmpdir(), "slipway-clone-"));
  try {
    await Bun.$`git clone -q ${url}/demo.git ${directory}/demo`.quiet();
    expect(await Bun.file(join(directory, "demo/hello")).text()).toBe("world\n");
  } finally {
    await rm(directory, { recursive: true });
  }
});
