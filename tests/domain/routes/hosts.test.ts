import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkHosts, hostProblem, nameInHost } from "../../../lib/domain/routes/hosts.ts";
import { routeAddressOf } from "../../../lib/domain/routes/routes.ts";

const OWN = new Set(["api.example.com", "box", "127.0.0.1"]);

describe("hostProblem", () => {
  test.each([
    "app.example.com",
    "a",
    "my_app",
    "xn--bcher-kva.example",
    "1app.example",
    "a-b.c-d.example",
    "3.example",
  ])("takes %s", (host) => expect(hostProblem(host, OWN)).toBeUndefined());

  test.each([
    ["App.Example.com", 'write it as "app.example.com"'],
    ["app.example.com.", 'write it as "app.example.com"'],
    ["app.example.com:443", 'write it as "app.example.com"'],
    ["app.example.com:", 'write it as "app.example.com"'],
    ["bücher.example", 'write it as "xn--bcher-kva.example"'],
    ["faß.example", 'write it as "xn--fa-hia.example"'],
    ["ａｐｐ.example", 'write it as "app.example"'],
    ["app%2eexample", 'write it as "app.example"'],
    ["*.example.com", "there are no wildcards: name each host"],
    ["*", "there are no wildcards: name each host"],
    ["https://app.example.com", 'give the name of the host alone, such as "app.example.com"'],
    ["app.example.com/x", 'give the name of the host alone, such as "app.example.com"'],
    ["a@b", 'give the name of the host alone, such as "app.example.com"'],
    ["192.0.2.1", "it is an address: give a name"],
    ["192.0.2.1:80", "it is an address: give a name"],
    ["127.1", "it is an address: give a name"],
    ["0x7f000001", "it is an address: give a name"],
    ["2130706433", "it is an address: give a name"],
    ["１２７.0.0.1", "it is an address: give a name"],
    ["[::1]", "it is an address: give a name"],
    ["[::1]:80", "it is an address: give a name"],
    ["::1", "it is an address: give a name"],
    ["localhost", "it means this machine, where the API is: give another name"],
    ["LOCALHOST", "it means this machine, where the API is: give another name"],
    ["app.localhost", "it means this machine, where the API is: give another name"],
    ["localhost.", "it means this machine, where the API is: give another name"],
    ["api.example.com", "the API of this server is reached by that name: give another one"],
    ["API.example.com.", "the API of this server is reached by that name: give another one"],
    ["box:9999", "the API of this server is reached by that name: give another one"],
    ["", "it is no name that a host can have"],
    [".", "it is no name that a host can have"],
    ["a..b", "it is no name that a host can have"],
    ["-a.example", "it is no name that a host can have"],
    ["a b", "it is no name that a host can have"],
    ["a\0b", "it is no name that a host can have"],
    ["app.1", "it is no name that a host can have"],
    [`${"a".repeat(64)}.example`, "it is no name that a host can have"],
    [`${"abcdefgh.".repeat(28)}abcd`, "it is no name that a host can have"],
  ])("refuses %j: %s", (host, problem) => {
    expect(hostProblem(host, OWN)).toBe(problem);
    expect(() => checkHosts(["fine.example", host], OWN)).toThrow('Invalid "hosts/1"');
  });

  test("takes only what a browser sends of a URL with this name, and nothing that is an address", () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9_.:\-ßé１]{1,12}$/);
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4Extended(), fc.ipV6(), label, fc.string()), (host) => {
        if (hostProblem(host, OWN) !== undefined) return;
        expect(URL.parse(`https://${host}/`)?.host).toBe(host);
        expect(host).toMatch(/^[a-z0-9_.-]+$/);
        expect(host).not.toMatch(/^[\d.]+$/);
      }),
    );
  });

  test("suggests only names that it takes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.webAuthority({ withPort: true }), fc.string()), (host) => {
        const [, suggestion] = /^write it as "(.*)"$/.exec(hostProblem(host, OWN) ?? "") ?? [];
        if (suggestion !== undefined) expect(hostProblem(suggestion, OWN)).toBeUndefined();
      }),
    );
  });
});

describe("nameInHost", () => {
  test("is the same name for every spelling of a Host", () => {
    const port = fc.oneof(
      fc.constant(""),
      fc.constant(":"),
      fc.nat(65_535).map((number) => `:${number}`),
    );
    fc.assert(
      fc.property(
        fc.domain(),
        fc.array(fc.boolean(), { minLength: 1 }),
        fc.constantFrom("", "."),
        port,
        (name, upper, dot, end) => {
          const host = name.toLowerCase();
          const spelled = Array.from(host)
            .map((char, at) => (upper[at % upper.length] === true ? char.toUpperCase() : char))
            .join("");
          expect(nameInHost(spelled + dot + end)).toBe(host);
        },
      ),
    );
  });

  test("makes no name of a route of what is another name, or none", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webAuthority()), (header) => {
        const name = nameInHost(header);
        // Whatever is found for it is what a client that sends this header means.
        if (hostProblem(name, new Set()) === undefined)
          expect(URL.parse(`http://${header}/`)?.hostname.replace(/\.$/, "")).toBe(name);
      }),
    );
    for (const header of [
      "app.example.com..",
      "app.example.com:80:80",
      "app.example.com:x",
      " app.example.com",
      "x@app.example.com",
    ]) {
      expect(nameInHost(header)).not.toBe("app.example.com");
    }
  });
});

describe("routeAddressOf", () => {
  const hosts = ["app.example.com"];
  const AT_PATH = { path: "/a", hosts: [] };
  const AT_HOST = { path: null, hosts };

  test("is a path or hosts; the one that is given takes the place of the other", () => {
    expect(routeAddressOf({ path: "/a" }, OWN)).toEqual(AT_PATH);
    expect(routeAddressOf({ hosts }, OWN)).toEqual(AT_HOST);
    expect(routeAddressOf({ path: "/a", hosts: [] }, OWN)).toEqual(AT_PATH);
    expect(routeAddressOf({}, OWN, AT_HOST)).toEqual(AT_HOST);
    expect(routeAddressOf({}, OWN, AT_PATH)).toEqual(AT_PATH);
    expect(routeAddressOf({ path: "/a" }, OWN, AT_HOST)).toEqual(AT_PATH);
    expect(routeAddressOf({ hosts }, OWN, AT_PATH)).toEqual(AT_HOST);
  });

  test("is neither both nor nothing", () => {
    expect(() => routeAddressOf({ path: "/a", hosts }, OWN)).toThrow("give one of the two");
    for (const given of [{}, { hosts: [] }])
      expect(() => routeAddressOf(given, OWN)).toThrow('or give "hosts" in its place');
    expect(() => routeAddressOf({ hosts: [] }, OWN, AT_HOST)).toThrow('Missing "path"');
    expect(() => routeAddressOf({ hosts: ["box"] }, OWN)).toThrow("the API of this server is reached by that name");
    expect(() => routeAddressOf({ path: "a" }, OWN)).toThrow('Invalid "path"');
  });
});
