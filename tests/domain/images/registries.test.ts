import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { parseImageReference } from "../../../lib/domain/images/reference.ts";
import { credentialsOf, type PutRegistry, registryHost, registryOf } from "../../../lib/domain/images/registries.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";

describe("registryHost", () => {
  test.each([
    ["docker.io", "docker.io"],
    ["index.docker.io", "docker.io"],
    ["registry-1.docker.io", "docker.io"],
    ["https://index.docker.io/v1/", "docker.io"],
    ["https://index.docker.io/v1", "docker.io"],
    ["https://registry-1.docker.io/v2/", "docker.io"],
    ["Docker.IO", "docker.io"],
    ["ghcr.io", "ghcr.io"],
    ["GHCR.io", "ghcr.io"],
    ["https://gcr.io", "gcr.io"],
    ["http://gcr.io/", "gcr.io"],
    ["gcr.io/v2/", "gcr.io"],
    ["localhost", "localhost"],
    ["localhost:5000", "localhost:5000"],
    ["127.0.0.1:5000", "127.0.0.1:5000"],
    ["registry.example.com:443", "registry.example.com:443"],
    ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"],
  ])("%s is %s", (text, host) => {
    expect(registryHost(text)).toBe(host);
    expect(registryHost(host)).toBe(host);
  });

  test.each([
    ["", "it must be a host"],
    ["ghcr", "it must be a host"],
    ["a b.io", "it must be a host"],
    ["ftp://ghcr.io", "credentials are for a whole registry"],
    ["ghcr.io/team", "credentials are for a whole registry"],
    ["https://ghcr.io/team/v1/", "credentials are for a whole registry"],
    ["ghcr.io:port", "it must be a host"],
    ["ghcr.io:5000:1", "it must be a host"],
    ["my_team.x", "it must be a host"],
    ["[::1]:5000", "it must be a host"],
    ["\0.io", "it must be a host"],
    ["x".repeat(300) + ".io", "it must be a host"],
  ])("%j is refused", (text, problem) => {
    const error = thrownBy(() => registryHost(text));
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).message).toContain(problem);
  });

  test("never shows a password before the host", () => {
    expect(String(thrownBy(() => registryHost("https://me:sesame@ghcr.io")))).toContain(
      'Invalid registry "...@ghcr.io"',
    );
  });

  test("is stable or throws, for any text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.domain(), fc.webUrl()), (text) => {
        let host: string;
        try {
          host = registryHost(text);
        } catch (error) {
          return expect(error).toBeInstanceOf(AppError);
        }
        expect(registryHost(host)).toBe(host);
        expect(registryOf(`${host}/some/image:1`)).toBe(host);
      }),
    );
  });
});

describe("registryOf", () => {
  test.each([
    ["busybox", "docker.io"],
    ["team/app:1", "docker.io"],
    ["index.docker.io/team/app", "docker.io"],
    ["registry-1.docker.io/team/app", "docker.io"],
    ["Registry.Example/team/app", "registry.example"],
    ["127.0.0.1:5000/app@sha256:" + "a".repeat(64), "127.0.0.1:5000"],
    ["localhost/app", "localhost"],
  ])("%s is in %s", (image, host) => {
    expect(registryOf(image)).toBe(host);
  });

  test("is undefined for a name that only the engine knows", () => {
    expect(parseImageReference("my_team.x/app").domain).toBe("");
    expect(registryOf("my_team.x/app")).toBeUndefined();
  });
});

describe("credentialsOf", () => {
  test.each<[PutRegistry, object]>([
    [
      { username: "u", password: "p" },
      { username: "u", kind: "password", secret: "p" },
    ],
    [{ identity_token: "t" }, { username: null, kind: "identity_token", secret: "t" }],
    [
      { username: "u", identity_token: "t" },
      { username: "u", kind: "identity_token", secret: "t" },
    ],
  ])("%j are credentials", (body, expected) => {
    expect(credentialsOf("ghcr.io", body)).toEqual({ host: "ghcr.io", ...expected } as never);
  });

  test.each<[PutRegistry, string]>([
    [{}, 'Missing "password": give "username" and "password", or "identity_token"'],
    [{ username: "u" }, 'Missing "password": give "username" and "password", or "identity_token"'],
    [{ password: "sesame" }, 'Missing "username": a password needs one'],
    [{ password: "sesame", identity_token: "t" }, 'Give either "password" or "identity_token", not both'],
    [{ username: "u", password: "\ud800" }, "The password contains half of a surrogate pair, which is not text"],
  ])("%j are refused", (body, message) => {
    expect(thrownBy(() => credentialsOf("ghcr.io", body))).toEqual(new AppError("invalid_request", message));
  });
});
