import { posix } from "node:path";
import { Value } from "@sinclair/typebox/value";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { checkSettings, fullSettings } from "../../../lib/domain/functions/rules.ts";
import { SETTING_DEFAULTS, SETTINGS } from "../../../lib/domain/functions/settings.ts";
import { NamedVolume, overlap, volumesProblem } from "../../../lib/domain/functions/volumes.ts";

// Issue 10, C: named volumes

const RESERVED = ["/proc", "/sys", "/dev", "/tmp", "/run/secrets"];

const at = (...paths: readonly string[]) => paths.map((path, n) => ({ name: `v${n}`, path, read_only: false }));

test.each([
  ["models", true],
  ["my.models_2-x", true],
  ["0a", true],
  ["f".repeat(255), true],
  ["a", false],
  ["", false],
  ["/etc", false],
  ["../etc", false],
  ["./x", false],
  [".hidden", false],
  ["-v", false],
  ["a/b", false],
  ["C:\\x", false],
  ["a b", false],
  ["a:ro", false],
  ["models\n", false],
  ["modèles", false],
  ["f".repeat(256), false],
])("a volume's name may be %j: %j", (name, allowed) => {
  expect(Value.Check(NamedVolume, { name, path: "/models", read_only: true })).toBe(allowed);
});

test("a function has at most 16 volumes", () => {
  const many = at(...Array.from({ length: 17 }, (_, n) => `/v${n}`));
  expect(Value.Check(SETTINGS.volumes, many.slice(1))).toBe(true);
  expect(Value.Check(SETTINGS.volumes, many)).toBe(false);
});

test.each(["/models", "/var/lib/models", "/run/app", "/procs", "/x/proc", "/home/a b", "/données", "/..x", "/etc"])(
  "a volume can be at %j",
  (path) => {
    expect(volumesProblem(at(path), "default")).toBeUndefined();
  },
);

test.each([
  ["models", "it must be an absolute path"],
  ["./models", "it must be an absolute path"],
  ["//", 'write it as "/"'],
  ["/models/", 'write it as "/models"'],
  ["//models", 'write it as "/models"'],
  ["/a/../models", 'write it as "/models"'],
  ["/models/..", 'write it as "/"'],
  ["/", "a volume cannot be the root directory"],
  ["/a\0b", "it contains a NUL character or half of a surrogate pair"],
  ["/a\ud800", "it contains a NUL character or half of a surrogate pair"],
  [`/${"é".repeat(128)}`, "no name in it may have more than 255 bytes"],
  ["/é".repeat(2000), "it may have at most 4095 bytes"],
  ["/proc", "it must not be at, above or below /proc"],
  ["/sys/fs", "it must not be at, above or below /sys"],
  ["/dev/shm/x", "it must not be at, above or below /dev"],
  ["/tmp", "it must not be at, above or below /tmp"],
  ["/run", "it must not be at, above or below /run/secrets"],
  ["/run/secrets/x", "it must not be at, above or below /run/secrets"],
])("a volume cannot be at %j: %s", (path, why) => {
  expect(volumesProblem(at(path), "default")).toEndWith(`: ${why}`);
});

test("paths that are accepted are clean, and neither meet each other nor a reserved directory", () => {
  const word = fc.constantFrom("", ".", "..", "a", "b", "proc", "sys", "dev", "tmp", "run", "secrets", "a b");
  const path = fc.array(word, { maxLength: 4 }).map((words) => `/${words.join("/")}`);
  const meets = (a: string, b: string) => `${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`);
  fc.assert(
    fc.property(fc.array(path, { maxLength: 4 }), (paths) => {
      const clean = paths.every((one) => posix.resolve("/", one) === one && one !== "/");
      const free = paths.every((one) => !RESERVED.some((directory) => meets(directory, one)));
      const apart = paths.every((one, n) => !paths.slice(0, n).some((other) => meets(one, other)));
      expect(volumesProblem(at(...paths), "default") === undefined).toBe(clean && free && apart);
    }),
    { numRuns: 1000 },
  );
});

test("overlap is the same for both, and for what lies below", () => {
  expect(overlap("/a", "/a/b")).toBe(true);
  expect(overlap("/a/b", "/a")).toBe(true);
  expect(overlap("/", "/a")).toBe(true);
  expect(overlap("/a", "/ab")).toBe(false);
});

test("volumes are writable unless a request says otherwise, and in `strict` only those that are not", () => {
  const given = fullSettings({ volumes: [{ name: "models", path: "/models" }] });
  expect(given).toEqual({ volumes: [{ name: "models", path: "/models", read_only: false }] });
  expect(fullSettings({})).toEqual({});
  checkSettings({ ...SETTING_DEFAULTS, ...given, sandbox: "docker" });
  const strict = { ...SETTING_DEFAULTS, sandbox: "strict", read_only: true } as const;
  expect(() => checkSettings({ ...strict, ...given })).toThrow(
    'The volume "models" is writable, and the sandbox "strict"',
  );
  checkSettings({ ...strict, ...fullSettings({ volumes: [{ name: "models", path: "/models", read_only: true }] }) });
});
