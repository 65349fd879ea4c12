import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { resolveUser } from "../../../lib/docker/containers/accounts.ts";

const passwd = [
  "root:x:0:0:root:/root:/bin/sh",
  "app:x:1000:1001:App:/home/app:/bin/sh",
  "openshift:x:1002:0::/:",
  "hex:x:0x10:5::/:",
  "float:x:1e3:5::/:",
  "wrap:x:4294967296:5::/:",
  "wrapped-one:x:4294967297:5::/:",
  "huge:x:99999999999999999999999:5::/:",
  "minus:x:-1:5::/:",
  "plus:x:+5:5::/:",
  "space:x: 5:5::/:",
  "empty:x::5::/:",
  "short",
  "toor:x:00:0::/:",
  "twice:x:0:0::/:",
  "twice:x:5:5::/:",
  "again:x:5:5::/:",
  "again:x:0:0::/:",
  "badgid:x:5:0x10::/:",
  "wrapgid:x:5:4294967296::/:",
  "77:x:0:0::/:",
  "4294967296:x:5:5::/:",
  "highest:x:2147483647:2147483647::/:",
  "above:x:2147483648:5::/:",
  "arabic:x:٥:5::/:",
  "  indented:x:7:8::/:  ",
].join("\n");
const group = [
  "root:x:0:",
  "staff:x:50:app,x",
  "more:x:51:x,app",
  "bad:x:0x0:app",
  "wrap:x:4294967296:app",
  "app:x:1001:app",
  "5:x:0:app",
].join("\n");
const lists = { passwd, group };

describe("resolveUser finds", () => {
  test.each([
    ["app", { uid: 1000, gid: 1001, groups: [50, 51, 0] }],
    ["1000", { uid: 1000, gid: 1001, groups: [50, 51, 0] }],
    ["app:staff", { uid: 1000, gid: 50, groups: [] }],
    ["app:7", { uid: 1000, gid: 7, groups: [] }],
    ["4000", { uid: 4000, gid: 0, groups: [] }],
    ["4000:4001", { uid: 4000, gid: 4001, groups: [] }],
    ["openshift", { uid: 1002, gid: 0, groups: [] }],
    ["77", { uid: 77, gid: 0, groups: [] }],
    ["0077:5", { uid: 77, gid: 5, groups: [] }],
    ["highest", { uid: 2147483647, gid: 2147483647, groups: [] }],
    ["indented", { uid: 7, gid: 8, groups: [] }],
  ])("%j as %j", (user, expected) => {
    expect(resolveUser(user, lists)).toEqual(expected);
  });
});

// EDGE C2
describe("resolveUser refuses", () => {
  test.each([
    ["root", 'the sandbox "strict" has no root user, and its user "root" is one'],
    ["0", "no root user"],
    ["000", "no root user"],
    ["toor", "no root user"],
    ["twice", "no root user"],
    ["again", "no root user"],
    ["hex", "no root user"],
    ["float", "no root user"],
    ["minus", "no root user"],
    ["plus", "no root user"],
    ["space", "no root user"],
    ["empty", "no root user"],
    ["short", "no root user"],
    ["arabic", "no root user"],
    ["wrap", 'the uid of its user "wrap" is over 2147483647'],
    ["wrapped-one", "is over 2147483647"],
    ["huge", "is over 2147483647"],
    ["above", "is over 2147483647"],
    ["4294967296", 'its user "4294967296" is over 2147483647'],
    ["2147483648", "is over"],
    ["0x10", "has no user"],
    ["1e3", "has no user"],
    ["+5", "has no user"],
    ["-1", "has no user"],
    [" 5", "has no user"],
    ["stranger", 'the image has no user "stranger"'],
    ["badgid", 'the gid of its user "badgid" is not a number up to 2147483647'],
    ["wrapgid", 'the gid of its user "wrapgid"'],
    ["app:bad", 'the gid of its group "bad" is not a number up to 2147483647'],
    ["app:wrap", 'the gid of its group "wrap"'],
    ["app:none", 'the image has no group "none"'],
    ["app:4294967296", "has no group"],
    ["app:", 'its user "app:" is not of the form "user" or "user:group"'],
    ["app:staff:x", "is not of the form"],
  ])("%j: %s", (user, problem) => {
    expect(resolveUser(user, lists)).toContain(problem);
  });

  test("every name if the lists are empty", () => {
    expect(resolveUser("app", { passwd: "", group: "" })).toBe('the image has no user "app"');
    expect(resolveUser("5:6", { passwd: "", group: "" })).toEqual({ uid: 5, gid: 6, groups: [] });
  });
});

/** Reads a line as engines do (moby/sys/user): what is no number is 0, and a number is cut to 32 bits at last. */
function atoi(text: string | undefined): number {
  return text !== undefined && /^[+-]?[0-9]+$/.test(text)
    ? Number(BigInt.asUintN(32, BigInt(text.replace("+", ""))))
    : 0;
}

test("resolveUser never gives root, and the uid of whatever engines read as a proper number", () => {
  const number = fc.oneof(
    fc.integer({ min: -2, max: 2 ** 33 }).map(String),
    fc.constantFrom(
      "0x10",
      "1e3",
      "4294967296",
      "4294967297",
      "2147483648",
      "+7",
      "-0",
      "00",
      "",
      " 1",
      "1 ",
      "٣",
      "1_000",
      "NaN",
      "Infinity",
    ),
    fc.string({ maxLength: 4 }),
  );
  const name = fc.constantFrom("a", "b", "root", "0", "1000", "4294967296", "+7", "");
  const line = fc
    .tuple(name, fc.constantFrom("x", "", ":"), number, number, fc.constantFrom(":/:", "", ":::::"))
    .map(([who, password, uid, gid, rest]) => [who, password, uid, gid].join(":") + rest);
  const text = fc.array(fc.oneof(line, fc.string()), { maxLength: 6 }).map((all) => all.join("\n"));
  const user = fc.oneof(
    name,
    number,
    fc.tuple(name, number).map((parts) => parts.join(":")),
    fc.tuple(name, name).map((parts) => parts.join(":")),
  );
  fc.assert(
    fc.property(user, text, text, (who, users, groups) => {
      const found = resolveUser(who, { passwd: users, group: groups });
      if (typeof found === "string") return expect(found.length).toBeGreaterThan(0);
      const ids = [found.uid, found.gid, ...found.groups];
      for (const id of ids) expect(Number.isInteger(id) && id >= 0 && id <= 2 ** 31 - 1).toBe(true);
      expect(found.uid).toBeGreaterThan(0);
      const [account = ""] = who.split(":");
      const entry = users.split("\n").find((one) => one.trim().split(":")[0] === account);
      if (!/^[0-9]+$/.test(account)) expect(found.uid).toBe(atoi(entry?.trim().split(":")[2]));
      else expect(found.uid).toBe(Number(account));
    }),
    { numRuns: 2_000 },
  );
});
