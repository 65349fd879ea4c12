import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { forwardedTarget } from "../../../lib/domain/calls/forwarded-target.ts";

function via(path: string, path_rest: string | null, route: string | null) {
  return { path, path_rest, route, query: {}, query_string: "", client_address: null };
}

describe("forwardedTarget", () => {
  test.each([
    ["/r/app/a/b?x=1", via("/app/a/b", "a/b", "/app/*"), "/a/b?x=1", "/r/app"],
    ["/r/app/", via("/app/", "", "/app/*"), "/", "/r/app"],
    ["/r/app", via("/app", "", "/app/*"), "/", "/r/app"],
    ["/r/app?a=%zz&&", via("/app", "", "/app/*"), "/?a=%zz&&", "/r/app"],
    ["/r/app/%2Fa%20b/%C3%A9", via("/app//a b/é", "/a b/é", "/app/*"), "/%2Fa%20b/%C3%A9", "/r/app"],
    ["/r/%61pp/%2541?", via("/app/%41", "%41", "/app/*"), "/%2541?", "/r/%61pp"],
    ["/r/app%2Fx/y", via("/app/x/y", "x/y", "/app/*"), "/x/y", "/r/app%2F"],
    ["/r/a", via("/a", "a", "/*"), "/a", "/r"],
    ["/r/exact?q", via("/exact", null, "/exact"), "/?q", "/r/exact"],
    ["/v1/functions/f/invoke?async=false", via("/", null, null), "/", ""],
    ["/", null, "/", ""],
  ])("sends %s to its function (%#)", (url, origin, target, prefix) => {
    expect(forwardedTarget({ url, via: origin })).toEqual({ target, prefix });
  });

  test("the rest of a path decodes to the decoded rest, however it was encoded", () => {
    const encoded = fc
      .string({ unit: "grapheme", maxLength: 8 })
      .map((text) => encodeURIComponent(text.toWellFormed()));
    const property = fc.property(
      fc.array(encoded, { maxLength: 6 }),
      fc.array(encoded, { maxLength: 6 }),
      (before, after) => {
        const rest = decodeURIComponent(after.join(""));
        const path = `/p${decodeURIComponent(before.join(""))}/${rest}`;
        const url = `/r/p${before.join("")}/${after.join("")}?q`;
        const { target, prefix } = forwardedTarget({ url, via: via(path, rest, "/p/*") });
        expect(target).toBe(`/${after.join("")}?q`);
        expect(prefix).toBe(`/r/p${before.join("")}`);
      },
    );
    fc.assert(property);
  });
});
