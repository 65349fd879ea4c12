import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { addressBytes } from "../../../lib/domain/addresses.ts";
import {
  callbackBody,
  callbackUrlProblem,
  checkCallbackUrl,
  parseAllowed,
} from "../../../lib/domain/calls/callbacks.ts";
import { CALLBACK, CALLBACK_URL_LENGTH } from "../../../lib/domain/limits.ts";
import { someInvocation, thrownBy } from "../../store/sqlite/support/stores.ts";
import { REFUSED_IPV4, REFUSED_IPV6, ipv6In } from "../refused-addresses.ts";

const NOTHING = { names: new Set<string>(), ranges: [] };

/** An IPv4 address in one of the spellings that URLs take. */
const spelledIpv4 = fc
  .tuple(
    fc.oneof(...REFUSED_IPV4.map(({ bytes, bits }) => fc.tuple(fc.constant({ bytes, bits }), fc.nat(0xffffffff)))),
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.constantFrom("dec", "hex", "HEX", "oct", "padded" as const), { minLength: 4, maxLength: 4 }),
    fc.constantFrom("plain", "percent", "fullwidth", "dot" as const),
  )
  .map(([[{ bytes, bits }, chance], parts, bases, disguise]) => {
    const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
    const number = ((Buffer.from(bytes).readUInt32BE() & mask) | (chance & ~mask)) >>> 0;
    const octets = [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
    // The last part stands for all bytes that are left.
    const tail = octets.slice(parts - 1).reduce((sum, octet) => sum * 256 + octet, 0);
    const spelled = [...octets.slice(0, parts - 1), tail].map((part, i) => inBase(part, bases[i] ?? "dec")).join(".");
    return disguised(spelled, disguise);
  });

function inBase(part: number, base: string): string {
  if (base === "hex") return `0x${part.toString(16)}`;
  if (base === "HEX") return `0X00${part.toString(16).toUpperCase()}`;
  if (base === "oct") return `0${part.toString(8)}`;
  return base === "padded" ? `0000${part.toString(8)}` : String(part);
}

function disguised(text: string, disguise: string): string {
  if (disguise === "percent") return text.replaceAll(/[^]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
  if (disguise === "fullwidth")
    return text.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit))).replaceAll(".", "\u3002");
  return disguise === "dot" ? `${text}.` : text;
}

const spelledIpv6 = fc
  .tuple(
    fc.oneof(...REFUSED_IPV6.map((range) => ipv6In(range))),
    fc.constantFrom("plain", "upper", "short", "dotted" as const),
  )
  .map(([address, form]) => {
    if (form === "upper") return `[${address.toUpperCase()}]`;
    if (form === "short") return new URL(`http://[${address}]`).hostname;
    const last = addressBytes(address)?.subarray(12) ?? [];
    return form === "dotted" ? `[${address.split(":").slice(0, 6).join(":")}:${[...last].join(".")}]` : `[${address}]`;
  });

describe("callbackUrlProblem", () => {
  test("no address of the refused ranges passes, in any spelling", () => {
    const around = fc.constantFrom<[string, string]>(
      ["http://", "/"],
      ["https://", ":8443/x?y"],
      ["HTTP:", ""],
      ["http:\\\\", "\\x"],
      [" ht\ntp://", "/ "],
    );
    fc.assert(
      fc.property(fc.oneof(spelledIpv4, spelledIpv6), around, (host, [before, after]) => {
        const url = `${before}${host}${after}`;
        // Some spellings are not a URL at all, which is a problem as well.
        expect([url, callbackUrlProblem(url, NOTHING)]).toEqual([url, expect.any(String)]);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    ..."http://0x7f.1/ http://2130706433/ http://127.1/ http://017700000001/ http://[::ffff:127.0.0.1]/ http://0/".split(
      " ",
    ),
    ..."http://localhost/ http://LOCALHOST.:80/ https://any.localhost/ http://①②⑦.0.0.1/ http://169.254.169.254/".split(
      " ",
    ),
  ])("%s does not lead to a public address", (url) => {
    expect(callbackUrlProblem(url, NOTHING)).toMatch(
      /^\S+ (is not|does not lead to) a public address; whoever runs the server may allow it with CALLBACK_ALLOW$/,
    );
  });

  test.each([
    "http://0x08.0010.8.8/",
    "http://134744072/",
    "http://8.8.2056/",
    "http://[::ffff:808:808]/",
    "http://８.8.8.8/",
  ])("%s leads to a public address, spelled as oddly", (url) =>
    expect(callbackUrlProblem(url, NOTHING)).toBeUndefined(),
  );

  test.each([
    ["", "give a URL such as https://example.com/hook"],
    ["example.com/hook", "give a URL such as https://example.com/hook"],
    ["ftp://example.com/", "give a URL such as https://example.com/hook"],
    ["file:///etc/passwd", "give a URL such as https://example.com/hook"],
    ["http://", "give a URL such as https://example.com/hook"],
    ["http://user@example.com/", "it has credentials: put a token into its path or query"],
    ["http://:secret@example.com/", "it has credentials: put a token into its path or query"],
    ["http://example.com/#top", "it has a fragment, which no server is sent: leave that out"],
    ["http://example.com/#", "it has a fragment, which no server is sent: leave that out"],
    [
      `http://example.com/${"x".repeat(CALLBACK_URL_LENGTH)}`,
      `it has ${CALLBACK_URL_LENGTH + 19} characters: at most ${CALLBACK_URL_LENGTH}`,
    ],
  ])("%j: %s", (url, problem) => {
    expect(callbackUrlProblem(url, NOTHING)).toBe(problem);
  });

  test.each([
    "https://example.com",
    "http://example.com:1/a%20b?token=x",
    "http://8.8.8.8/",
    "http://[2606:4700::1]/",
    "https://xn--bcher-kva.example/",
    "https://localhost.example/",
  ])("%s can be called", (url) => {
    expect(callbackUrlProblem(url, NOTHING)).toBeUndefined();
    checkCallbackUrl(url, NOTHING);
  });

  test("allowed names, addresses and ranges can be called", () => {
    const allowed = parseAllowed(["Hooks.localhost.", "10.0.0.0/8", "127.0.0.1"]) ?? NOTHING;
    for (const url of ["http://hooks.localhost/", "http://HOOKS.localhost.:1/", "http://10.1/", "http://localhost/"])
      expect([url, callbackUrlProblem(url, allowed)]).toEqual([url, undefined]);
    for (const url of ["http://127.0.0.2/", "http://11.hooks.localhost.x@10.0.0.1/", "http://192.168.0.1/"])
      expect([url, callbackUrlProblem(url, allowed)]).toEqual([url, expect.any(String)]);
  });

  test("checkCallbackUrl quotes nothing of a URL that could be a token", () => {
    const long = `https://example.com/token-1/${"x".repeat(5_000)}`;
    const urls = ["token-1", "ftp://token-1", "http://10.0.0.1/token-1?key=token-1", "https://me:token-1@a.b/", long];
    for (const url of [...urls, "https://example.com/#token-1"]) {
      const thrown = thrownBy(() => checkCallbackUrl(url, NOTHING));
      expect(thrown).toMatchObject({
        reason: "invalid_request",
        message: expect.stringMatching(/^Invalid "callback_url": (?!.*token-1)/),
      });
    }
  });
});

describe("parseAllowed", () => {
  test.each(["http://x/", "10.0.0.0/33", "a b", "127.1", "0x7f.1", "10.0.0.256", "host:80", "*", "*.example.com", ""])(
    "%j is neither a name nor a range",
    (entry) => expect(parseAllowed([entry])).toBeUndefined(),
  );
});

describe("callbackBody", () => {
  const bodyOf = (response: Uint8Array | null, status: "succeeded" | "dead" | "cancelled" = "succeeded") =>
    callbackBody(someInvocation("i1", { status, mode: "async" }), response);
  const parsed = (...args: Parameters<typeof bodyOf>): unknown => JSON.parse(bodyOf(...args));

  test("has the record and the response", () => {
    expect(parsed(Buffer.from('{"a":[1]}'))).toEqual({
      type: "invocation.succeeded",
      timestamp: someInvocation("i1").finished_at,
      data: { invocation: someInvocation("i1", { mode: "async" }), response: { a: [1] } },
    });
    expect(parsed(null, "dead")).toMatchObject({ type: "invocation.dead", data: { response: null } });
    expect(parsed(null, "cancelled")).toMatchObject({ type: "invocation.cancelled" });
  });

  test("has the message for strangers if there is no response", () => {
    const failed = { status: "dead", reason: "secret_unavailable", message: 'The secret "db" is gone' } as const;
    const body = callbackBody(someInvocation("i1", failed), null);
    expect(body).not.toContain('\\"db\\"');
    expect(JSON.parse(body)).toMatchObject({
      data: { invocation: { reason: "secret_unavailable", message: expect.stringContaining("present settings") } },
    });
    const exited = { status: "dead", reason: "function_failed", message: "The function exited with code 3" } as const;
    expect(JSON.parse(callbackBody(someInvocation("i1", exited), Buffer.from("1")))).toMatchObject({
      data: { invocation: { message: exited.message }, response: 1 },
    });
  });

  test("any JSON stays unchanged, number for number", () => {
    expect(bodyOf(Buffer.from("[9223372036854775807, 1.0]"))).toEndWith('"response":[9223372036854775807, 1.0]}}');
    fc.assert(
      fc.property(fc.json(), (json) => {
        const { data } = parsed(Buffer.from(json)) as { data: { response: unknown } };
        expect(data.response).toEqual(JSON.parse(json));
      }),
    );
  });

  test("a response that is not JSON is in base64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
        const { data } = parsed(Buffer.concat([Buffer.from([0xff]), bytes])) as { data: { response_base64: string } };
        expect([...Buffer.from(data.response_base64, "base64")]).toEqual([0xff, ...bytes]);
      }),
    );
    expect(parsed(Buffer.from(""))).toMatchObject({ data: { response: null, response_base64: "" } });
    expect(parsed(Buffer.from("\ufeff1"))).toMatchObject({ data: { response_base64: "77u/MQ==" } });
  });

  test("a response that is too long is left out, with a note", () => {
    const long = Buffer.alloc(CALLBACK.response_bytes + 1, "1");
    const { data } = parsed(long) as { data: Record<string, unknown> };
    expect(data).toMatchObject({
      response: null,
      response_omitted: expect.stringContaining("GET /v1/invocations/i1/result has it"),
    });
    expect(parsed(long.subarray(1))).toMatchObject({ data: { response: expect.any(Number) } });
  });
});
