import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { type ImageReference, parseImageReference, pullTarget } from "../../../lib/domain/images/reference.ts";

const SHA256 = `sha256:${"0123456789abcdef".repeat(4)}`;
const SHA512 = `sha512:${"0123456789abcdef".repeat(8)}`;

describe("parseImageReference", () => {
  test.each<[text: string, name: string, normalized: string, from_image: string, tag: string]>([
    ["busybox", "busybox", "docker.io/library/busybox:latest", "docker.io/library/busybox", "latest"],
    ["busybox:1.36", "busybox", "docker.io/library/busybox:1.36", "docker.io/library/busybox", "1.36"],
    ["user/app", "user/app", "docker.io/user/app:latest", "docker.io/user/app", "latest"],
    ["library/busybox", "busybox", "docker.io/library/busybox:latest", "docker.io/library/busybox", "latest"],
    ["docker.io/busybox", "busybox", "docker.io/library/busybox:latest", "docker.io/library/busybox", "latest"],
    ["docker.io/user/app:v1", "user/app", "docker.io/user/app:v1", "docker.io/user/app", "v1"],
    ["index.docker.io/busybox", "busybox", "docker.io/library/busybox:latest", "docker.io/library/busybox", "latest"],
    ["docker.io/library/a/b", "library/a/b", "docker.io/library/a/b:latest", "docker.io/library/a/b", "latest"],
    ["localhost/app", "localhost/app", "localhost/app:latest", "localhost/app", "latest"],
    ["localhost:5000/app", "localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app", "latest"],
    ["registry:5000/a/b:v2", "registry:5000/a/b", "registry:5000/a/b:v2", "registry:5000/a/b", "v2"],
    ["REGISTRY.example/app", "REGISTRY.example/app", "REGISTRY.example/app:latest", "REGISTRY.example/app", "latest"],
    [`busybox@${SHA256}`, "busybox", `docker.io/library/busybox@${SHA256}`, "docker.io/library/busybox", SHA256],
    [`a.b/c:v1@${SHA512}`, "a.b/c", `a.b/c:v1@${SHA512}`, "a.b/c", SHA512],
    ["a__b--c.d/e", "a__b--c.d/e", "a__b--c.d/e:latest", "a__b--c.d/e", "latest"],
    [
      `${"f".repeat(64)}:v1`,
      "f".repeat(64),
      `docker.io/library/${"f".repeat(64)}:v1`,
      `docker.io/library/${"f".repeat(64)}`,
      "v1",
    ],
  ])("parses %s", (text, name, normalized, from_image, tag) => {
    const reference = parseImageReference(text);
    expect(reference).toMatchObject({ name, normalized });
    expect(pullTarget(reference)).toEqual({ from_image, tag });
  });

  test.each<[text: string, problem: string]>([
    ["", "it is empty"],
    ["Busybox", "upper-case"],
    ["Foo/bar", "upper-case"],
    [`Busybox@${SHA256}`, "upper-case"],
    ["busy box", "white space"],
    ["busybox\n", "white space"],
    ["https://ghcr.io/user/app", "it is a URL"],
    ["busybox:", 'the part after ":" is not a tag'],
    ["busybox:.x", 'the part after ":" is not a tag'],
    ["busybox:a/b", "it must look like"],
    [`busybox:${"t".repeat(129)}`, 'the part after ":" is not a tag'],
    ["a.b:port/c", "it must look like"],
    ["/busybox", "it must look like"],
    ["a//b", "it must look like"],
    ["a/", "it must look like"],
    ["-a", "it must look like"],
    ["a_", "it must look like"],
    ["a___b", "it must look like"],
    ["é", "it must look like"],
    ["busybox@", 'nothing follows "@"'],
    ["busybox@sha256:abc", "the digest"],
    [`busybox@${SHA256.toUpperCase()}`, "the digest"],
    [`busybox@sha256:${"A".repeat(64)}`, "the digest"],
    [`busybox@md5:${"a".repeat(32)}`, "the digest"],
    [`busybox@${SHA256}:v1`, "the digest"],
    [`busybox@constructor:${"a".repeat(32)}`, "the digest"],
    ["f".repeat(64), "it is an image id"],
    ["a".repeat(256 - "docker.io/library/".length), "longer than 255"],
    ["a".repeat(513), "longer than 512"],
  ])("refuses %j", (text, problem) => {
    const refused = attempt(text);
    expect(refused).toBeInstanceOf(AppError);
    expect(refused).toMatchObject({ reason: "invalid_request", message: expect.stringContaining(problem) });
  });

  test("accepts a name of exactly 255 characters", () => {
    expect(attempt("a".repeat(255 - "docker.io/library/".length))).toMatchObject({ tag: "latest" });
  });
});

function attempt(text: string): ImageReference | Error {
  try {
    return parseImageReference(text);
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

const letters = (characters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...characters.split("")), minLength: 1, maxLength });
const alphanumeric = letters("abcxyz019", 5);
const component = fc
  .tuple(alphanumeric, fc.array(fc.tuple(fc.constantFrom(".", "_", "__", "-", "---"), alphanumeric), { maxLength: 2 }))
  .map(([first, rest]) => first + rest.flat().join(""));
const path = fc.array(component, { minLength: 1, maxLength: 3 }).map((components) => components.join("/"));
const domain = fc
  .tuple(
    fc.array(letters("abcXYZ01", 5), { minLength: 1, maxLength: 3 }).map((labels) => labels.join(".")),
    fc.option(fc.integer({ min: 0, max: 99_999 }), { nil: undefined }),
  )
  .map(([host, port]) => (port === undefined ? host : `${host}:${port}`))
  .filter((host) => /[.:]/.test(host));
const tag = fc
  .tuple(letters("abcABC019_", 1), fc.option(letters("abcABC019_.-", 127), { nil: "" }))
  .map((parts) => parts.join(""));
const digest = letters("0123456789abcdef", 64).map((digits) => `sha256:${digits.padEnd(64, "0")}`);

describe("parseImageReference, generated", () => {
  test("finds the parts of a generated reference", () => {
    const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });
    fc.assert(
      fc.property(optional(domain), path, optional(tag), optional(digest), (domain, path, tag, digest) => {
        fc.pre(domain !== null || !/^[^/]*\.[^/]*\//.test(path));
        const text = `${domain === null ? "" : `${domain}/`}${path}${tag === null ? "" : `:${tag}`}${digest === null ? "" : `@${digest}`}`;
        const reference = parseImageReference(text);
        expect(reference.domain).toBe(domain ?? "docker.io");
        expect(reference.path).toBe(domain === null && !path.includes("/") ? `library/${path}` : path);
        expect(reference.tag).toBe(tag ?? (digest === null ? "latest" : null));
        expect(reference.digest).toBe(digest);
        // The full and the short form mean the same.
        expect(parseImageReference(reference.normalized)).toEqual(reference);
        expect(parseImageReference(reference.name).path).toBe(reference.path);
      }),
      { numRuns: 1000 },
    );
  });

  test("throws only invalid_request, and quickly", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "/",
        ":",
        "@",
        ".",
        "-",
        "_",
        "__",
        "localhost",
        "docker.io",
        "sha256:",
        "A",
        " ",
        "\n",
        "https://",
      ),
      letters("abc019-_.", 300),
      fc.string({ unit: "binary", maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const verdict = attempt(pieces.join(""));
        if (verdict instanceof Error) expect(verdict).toMatchObject({ name: "AppError", reason: "invalid_request" });
        else expect(attempt(verdict.normalized)).toEqual(verdict);
      }),
      { numRuns: 1000 },
    );
  });
});
