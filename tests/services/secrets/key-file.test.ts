import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { StoreError } from "../../../lib/store/errors.ts";
import { keyFilePath, makeKeyFile, readKeyFile } from "../../../lib/services/secrets/key-file.ts";
import type { Config } from "../../../lib/config/config.ts";
import { readSmallFile } from "../../../lib/private-files.ts";
import { readApiKey, readSecretKey } from "../../../lib/server/keys/key-files.ts";
import { listeningLog, rejectionOf, scratchDirectory, thrownBy } from "../../store/sqlite/support/stores.ts";

const KEY = Buffer.alloc(32, "k");

describe("makeKeyFile", () => {
  test("writes a file that readKeyFile reads, for its owner only, and leaves nothing else behind", () => {
    using scratch = scratchDirectory();
    const path = keyFilePath(scratch.path);
    const before = process.umask(0);
    makeKeyFile(path, KEY);
    process.umask(before);
    const { log, events } = listeningLog();
    expect(Buffer.from(readKeyFile(path, log) ?? []).equals(KEY)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(scratch.path)).toEqual(["secret.key"]);
    expect(events).toEqual([]);
    // In the form that SECRET_KEY takes, so that it can be moved there.
    expect(readFileSync(path, "utf8")).toBe(`${KEY.toString("base64")}\n`);
  });

  test("never overwrites a file, and leaves nothing behind", () => {
    using scratch = scratchDirectory();
    const path = keyFilePath(scratch.path);
    writeFileSync(path, "mine");
    expect(thrownBy(() => makeKeyFile(path, KEY))).toBeInstanceOf(StoreError);
    expect(readFileSync(path, "utf8")).toBe("mine");
    expect(readdirSync(scratch.path)).toEqual(["secret.key"]);
  });

  test("replaces a partial file that a killed start left behind", () => {
    using scratch = scratchDirectory();
    const path = keyFilePath(scratch.path);
    writeFileSync(`${path}.${process.pid}.tmp`, "half");
    makeKeyFile(path, KEY);
    expect(readdirSync(scratch.path)).toEqual(["secret.key"]);
  });

  test("names the file and the remedy if it cannot be written", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("none/secret.key");
    const error = thrownBy(() => makeKeyFile(path, KEY));
    expect(error).toBeInstanceOf(StoreError);
    expect(String(error)).toContain(`Cannot write the secret key ${JSON.stringify(path)}: `);
    expect(String(error)).toEndWith("make its directory writable for this user, or give a key as SECRET_KEY");
  });
});

describe("readKeyFile", () => {
  test("returns undefined if there is no file", () => {
    using scratch = scratchDirectory();
    expect(readKeyFile(keyFilePath(scratch.path), listeningLog().log)).toBeUndefined();
  });

  test("warns of a key that others can read", () => {
    using scratch = scratchDirectory();
    const path = keyFilePath(scratch.path);
    makeKeyFile(path, KEY);
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(path, mode);
      const { log, events } = listeningLog();
      expect(readKeyFile(path, log)).toBeDefined();
      expect(events).toMatchObject([{ level: "warn", path }]);
    }
  });

  test.each<[what: string, prepare: (path: string) => void, message: RegExp]>([
    ["an empty file", (path) => writeFileSync(path, ""), /holds no key: put the right one back \(32 random bytes/],
    ["something else", (path) => writeFileSync(path, "hello\n"), /holds no key: put the right one back/],
    ["half a key", (path) => writeFileSync(path, KEY.toString("base64").slice(0, 20)), /holds no key/],
    ["a directory", (path) => mkdirSync(path), /Cannot read the secret key .+: make it a file that this user may read/],
    ["a link in a circle", (path) => symlinkSync(path, path), /Cannot read the secret key /],
  ])("refuses %s, and leaves it unchanged", (_, prepare, message) => {
    using scratch = scratchDirectory();
    const path = keyFilePath(scratch.path);
    prepare(path);
    const error = thrownBy(() => readKeyFile(path, listeningLog().log));
    expect(error).toBeInstanceOf(StoreError);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain(JSON.stringify(path));
    expect(readdirSync(scratch.path)).toEqual(["secret.key"]);
  });
});

// C12
describe("a key file that is not a regular file is refused at once:", () => {
  const refused = async (path: string) => {
    expect(() => readSmallFile(path)).toThrow("it is not a regular file");
    const { log } = listeningLog();
    expect(thrownBy(() => readKeyFile(path, log))).toBeInstanceOf(StoreError);
    const options = { apiKey: null, apiKeyFile: path, secretKey: null, secretKeyFile: path };
    // Only these options are read.
    const config = options as unknown as Config;
    expect(await rejectionOf(readApiKey(config))).toMatchObject({ message: expect.stringContaining("API_KEY_FILE") });
    expect(await rejectionOf(readSecretKey(config))).toMatchObject({
      message: expect.stringContaining("SECRET_KEY_FILE"),
    });
  };

  test("a fifo, and a link to one", async () => {
    using scratch = scratchDirectory();
    await Bun.$`mkfifo ${scratch.file("fifo")}`;
    symlinkSync(scratch.file("fifo"), scratch.file("link"));
    await refused(scratch.file("fifo"));
    await refused(scratch.file("link"));
  });

  test("a device", () => refused("/dev/zero"));

  test("a directory", async () => {
    using scratch = scratchDirectory();
    await refused(scratch.path);
  });

  test("and a link to a regular file is read", () => {
    using scratch = scratchDirectory();
    writeFileSync(scratch.file("key"), "hello");
    symlinkSync(scratch.file("key"), scratch.file("link"));
    expect(readSmallFile(scratch.file("link"))).toBe("hello");
  });
});
