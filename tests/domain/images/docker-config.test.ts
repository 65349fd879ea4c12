import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Value } from "@sinclair/typebox/value";
import { DockerConfig, readDockerConfig } from "../../../lib/domain/images/docker-config.ts";

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function read(config: object) {
  expect(Value.Check(DockerConfig, config)).toBe(true);
  return readDockerConfig(config);
}

describe("readDockerConfig", () => {
  test.each<[what: string, entry: object, expected: object]>([
    ["auth", { auth: base64("me:sesame") }, { username: "me", kind: "password", secret: "sesame" }],
    ["a password with colons", { auth: base64("me:a:b:") }, { username: "me", secret: "a:b:" }],
    ["NULs after the password", { auth: base64("me:sesame\0\0") }, { username: "me", secret: "sesame" }],
    ["base64 without padding", { auth: base64("me:sesame!").replace(/=+$/, "") }, { secret: "sesame!" }],
    ["a password that is not ASCII", { auth: base64("me:pässword") }, { secret: "pässword" }],
    ["username and password", { username: "me", password: "sesame" }, { username: "me", secret: "sesame" }],
    [
      "an identity token",
      { auth: base64("me:"), identitytoken: "token" },
      { username: "me", kind: "identity_token", secret: "token" },
    ],
    ["only an identity token", { identitytoken: "token" }, { username: null, kind: "identity_token", secret: "token" }],
    ["other fields, too", { auth: base64("me:sesame"), email: "me@example.com" }, { secret: "sesame" }],
  ])("reads %s", (_, entry, expected) => {
    const { found, skipped } = read({ auths: { "ghcr.io": entry }, psFormat: "table" });
    expect(found).toEqual([
      { entry: "ghcr.io", credentials: expect.objectContaining({ host: "ghcr.io", ...expected }) },
    ]);
    expect(skipped).toEqual([]);
  });

  test.each<[what: string, config: object, problem: string]>([
    ["no base64", { auths: { "ghcr.io": { auth: "***" } } }, 'its "auth" is not the base64 of "username:password"'],
    ["no colon", { auths: { "ghcr.io": { auth: base64("sesame") } } }, 'its "auth" is not the base64 of'],
    ["no username", { auths: { "ghcr.io": { auth: base64(":sesame") } } }, 'its "auth" is not the base64 of'],
    ["no password", { auths: { "ghcr.io": { auth: base64("me:") } } }, "it has no credentials"],
    ["nothing", { auths: { "ghcr.io": {} } }, "it has no credentials; PUT /v1/registries/ghcr.io instead"],
    ["no object", { auths: { "ghcr.io": "sesame" } }, "it has no credentials"],
    ["null", { auths: { "ghcr.io": null } }, "it has no credentials"],
    ["a registry token", { auths: { "ghcr.io": { registrytoken: "sesame" } } }, "it has a registry token"],
    ["a NUL", { auths: { "ghcr.io": { auth: base64("me:se\0same") } } }, "its credentials are not text"],
    ["too much", { auths: { "ghcr.io": { auth: base64(`me:${"x".repeat(20_000)}`) } } }, "is too long"],
    ["a path", { auths: { "quay.io/team": { auth: base64("me:sesame") } } }, "credentials are for a whole registry"],
    ["no host", { auths: { "": { auth: base64("me:sesame") } } }, "it must be a host"],
    ["the store of the machine", { auths: { "ghcr.io": {} }, credsStore: "desktop" }, 'in the helper "desktop"'],
    ["a helper", { auths: { "gcr.io": {} }, credHelpers: { "gcr.io": "gcloud" } }, 'in the helper "gcloud"'],
    ["only a helper", { credHelpers: { "gcr.io": "gcloud" } }, "PUT /v1/registries/gcr.io instead"],
    ["only a store", { credsStore: "pass" }, 'in the helper "pass"; PUT /v1/registries/<host> instead'],
  ])("skips %s, and shows nothing of it", (_, config, problem) => {
    const { found, skipped } = read(config);
    expect(found).toEqual([]);
    expect(skipped).toEqual([{ entry: expect.any(String), problem: expect.stringContaining(problem) }]);
    expect(JSON.stringify(skipped)).not.toMatch(/sesame|c2VzYW1l/);
  });

  test("imports the first of two entries for one registry", () => {
    const { found, skipped } = read({
      auths: {
        "https://index.docker.io/v1/": { auth: base64("me:one") },
        "docker.io": { auth: base64("me:two") },
      },
    });
    expect(found.map(({ credentials }) => credentials.secret)).toEqual(["one"]);
    expect(skipped).toEqual([
      { entry: "docker.io", problem: 'the entry "https://index.docker.io/v1/" is for the same registry' },
    ]);
  });

  test("reads nothing from a file without registries", () => {
    expect(read({ currentContext: "default", auths: {} })).toEqual({ found: [], skipped: [] });
  });

  test("reads any password", () => {
    const text = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }).filter((one) => !one.includes("\0"));
    const name = text.filter((one) => !one.includes(":"));
    fc.assert(
      fc.property(name, text, (username, password) => {
        const { found } = read({ auths: { "ghcr.io": { auth: base64(`${username}:${password}`) } } });
        expect(found[0]?.credentials).toEqual({ host: "ghcr.io", username, kind: "password", secret: password });
      }),
    );
  });

  test("accepts any object, and names each of its entries", () => {
    const entry = fc.oneof(fc.jsonValue(), fc.record({ auth: fc.string(), identitytoken: fc.string() }));
    const config = fc.record(
      { auths: fc.dictionary(fc.oneof(fc.string(), fc.domain()), entry), credsStore: fc.string() },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(config, (value) => {
        const { found, skipped } = readDockerConfig(value);
        const entries = Object.keys(value.auths ?? {}).length;
        expect(found.length + skipped.length).toBeGreaterThanOrEqual(entries);
        expect(found.length + skipped.length).toBeLessThanOrEqual(entries + 1);
        expect(new Set(found.map(({ credentials }) => credentials.host)).size).toBe(found.length);
      }),
    );
  });
});
