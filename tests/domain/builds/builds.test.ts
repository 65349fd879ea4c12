import { describe, expect, test } from "bun:test";
import { builtImageName, parseBuildListQuery, parseBuildRequest } from "../../../lib/domain/builds/builds.ts";
import { parseImageReference } from "../../../lib/domain/images/reference.ts";
import { registryOf } from "../../../lib/domain/images/registries.ts";

const ID = "019ac2c1-7d3e-7abc-9a53-2f6f8f1f3c55";

describe("parseBuildRequest", () => {
  test("has defaults", () => {
    expect(parseBuildRequest({ name: "app" })).toEqual({
      name: "app",
      dockerfile: "Dockerfile",
      target: null,
      build_args: {},
      no_cache: false,
      pull: false,
    });
  });

  test("reads all fields", () => {
    const query = {
      name: "my-app-2",
      dockerfile: "./docker/Dockerfile",
      target: "prod",
      no_cache: "true",
      pull: "true",
    } as const;
    expect(parseBuildRequest({ ...query, build_args: '{"A": "1", "B": ""}' })).toEqual({
      name: "my-app-2",
      dockerfile: "docker/Dockerfile",
      target: "prod",
      build_args: { A: "1", B: "" },
      no_cache: true,
      pull: true,
    });
  });

  test.each([
    [{ name: "" }, 'Invalid "name"'],
    [{ name: "A" }, 'Invalid "name"'],
    [{ name: "a_b" }, 'Invalid "name"'],
    [{ name: "a-" }, 'Invalid "name"'],
    [{ name: "a".repeat(64) }, 'Invalid "name"'],
    [{ name: "a", dockerfile: "/etc/passwd" }, 'Invalid "dockerfile"'],
    [{ name: "a", dockerfile: "../Dockerfile" }, 'Invalid "dockerfile"'],
    [{ name: "a", dockerfile: "a/../../b" }, 'Invalid "dockerfile"'],
    [{ name: "a", dockerfile: "" }, 'Invalid "dockerfile"'],
    [{ name: "a", target: "-x" }, 'Invalid "target"'],
    [{ name: "a", build_args: "A=1" }, 'Invalid "build_args"'],
    [{ name: "a", build_args: "[]" }, 'Invalid "build_args"'],
    [{ name: "a", build_args: '{"A": 1}' }, 'Invalid "build_args"'],
    [{ name: "a", build_args: '{"": "x"}' }, "a key is empty"],
  ])("refuses %j", (query, message) => expect(() => parseBuildRequest(query)).toThrow(message));

  test("shows no value of a build argument", () => {
    expect(() => parseBuildRequest({ name: "a", build_args: '{"TOKEN": "hunter2"' })).not.toThrow("hunter2");
  });
});

test("builtImageName is a reference that no registry is asked for", () => {
  const image = builtImageName("my-app", ID);
  expect(image).toBe("slipway.local/my-app:019ac2c17d3e7abc");
  expect(parseImageReference(image).normalized).toBe(image);
  expect(registryOf(image)).toBeUndefined();
});

describe("parseBuildListQuery", () => {
  test("has defaults, and reads all fields", () => {
    expect(parseBuildListQuery({})).toEqual({ name: null, status: null, before: Number.MAX_SAFE_INTEGER, limit: 50 });
    expect(parseBuildListQuery({ name: "a", status: "failed", cursor: "7", limit: "2" })).toEqual({
      name: "a",
      status: "failed",
      before: 7,
      limit: 2,
    });
  });

  test.each([{ cursor: "0" }, { cursor: "x" }, { limit: "0" }, { limit: "501" }])("refuses %j", (query) =>
    expect(() => parseBuildListQuery(query)).toThrow("Invalid"),
  );
});
