import { describe, expect, test } from "bun:test";
import { parseTraceParent } from "@opentelemetry/core";
import fc from "fast-check";
import {
  callersTrace,
  innerSpanId,
  spanIdOf,
  traceHeaders,
  traceIdOf,
  traceVariables,
} from "../../../lib/domain/tracing/trace-context.ts";

const VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PLACE = {
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
  parent_span_id: "00f067aa0ba902b7",
  trace_flags: 1,
  tracestate: null,
};

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef".split("")), minLength: length, maxLength: length });
/** A valid header, and what a fault turns it into. */
const nearlyValid = fc
  .tuple(hex(2), hex(32), hex(16), hex(2), fc.constantFrom("", "-", "-x", "-00-01", "0"))
  .chain(([version, trace, span, flags, more]) => {
    const text = `${version}-${trace}-${span}-${flags}${more}`;
    return fc.oneof(
      fc.constant(text),
      fc
        .tuple(fc.nat({ max: text.length - 1 }), fc.constantFrom("", "-", "0", "A", "g", " ", "é", "00"))
        .map(([at, put]) => text.slice(0, at) + put + text.slice(at + 1)),
      fc.nat({ max: text.length }).map((end) => text.slice(0, end)),
    );
  });

describe("traceparent", () => {
  test("of version 00 is taken over, and passed on with another span", () => {
    expect(callersTrace({ traceparent: VALID })).toEqual(PLACE);
    expect(traceHeaders(PLACE, "b7ad6b7169203331")).toEqual({
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01",
    });
  });

  test.each([
    ["nothing", ""],
    ["no trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
    ["no span", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
    ["upper case", VALID.toUpperCase()],
    ["version ff", VALID.replace(/^00/, "ff")],
    ["more than version 00 has", `${VALID}-01`],
    ["a space in front", ` ${VALID}`],
    ["a line break at the end", `${VALID}\n`],
    ["two of them", `${VALID}, ${VALID}`],
    ["a short trace", VALID.replace("4bf9", "")],
    ["other digits", VALID.replace("4bf9", "४bf9")],
    ["a later version with more that is not set off", `cc${VALID.slice(2)}1`],
  ])("with %s is not valid, and a new trace begins", (_, traceparent) => {
    expect(callersTrace({ traceparent, tracestate: "a=1" })).toBeUndefined();
  });

  test.each([`cc${VALID.slice(2)}`, `cc${VALID.slice(2)}-what-follows`])(
    "of a later version counts as far as it is known: %s",
    (traceparent) => expect(callersTrace({ traceparent })).toEqual(PLACE),
  );

  test("is understood as OpenTelemetry itself understands it, whatever it is", () => {
    fc.assert(
      fc.property(nearlyValid, (traceparent) => {
        const theirs = parseTraceParent(traceparent);
        const ours = callersTrace({ traceparent });
        // Theirs allows a space at both ends, which a header's value cannot have.
        if (/^\s|\s$/.test(traceparent)) return;
        expect(ours?.trace_id).toBe(theirs?.traceId);
        expect(ours?.parent_span_id).toBe(theirs?.spanId);
        if (theirs !== null) expect(ours?.trace_flags).toBe(theirs.traceFlags & 3);
      }),
      { numRuns: 1_000 },
    );
  });

  test("that is passed on is valid, whatever came in", () => {
    fc.assert(
      fc.property(nearlyValid, fc.uuid({ version: 7 }), (traceparent, id) => {
        const place = callersTrace({ traceparent }) ?? { ...PLACE, trace_id: traceIdOf(id) };
        const span = innerSpanId(id, "run");
        const { traceparent: next = "" } = traceHeaders(place, span);
        expect(callersTrace({ traceparent: next })).toEqual({ ...place, parent_span_id: span });
        expect(traceVariables({ traceparent: next })).toEqual({ TRACEPARENT: next });
        expect(spanIdOf(id)).toMatch(/^[89ab][0-9a-f]{15}$/);
      }),
    );
  });
});

describe("tracestate", () => {
  const state = (tracestate: string) => callersTrace({ traceparent: VALID, tracestate })?.tracestate;
  const entry = (name: string, length: number) => `${name}=${"x".repeat(length - name.length - 1)}`;

  test.each([
    ["a=1", "a=1"],
    ["a=1, b=2 ,\tc=3", "a=1,b=2,c=3"],
    ["a=1,,b=2", "a=1,b=2"],
    ["0vendor_-*/=x y", "0vendor_-*/=x y"],
    ["tenant@system=1", "tenant@system=1"],
    [`${"k".repeat(256)}=1`, `${"k".repeat(256)}=1`],
    [
      Array.from({ length: 32 }, (_, index) => `k${index}=1`).join(),
      Array.from({ length: 32 }, (_, index) => `k${index}=1`).join(),
    ],
  ])("is passed on: %s", (text, expected) => expect(state(text)).toBe(expected));

  test.each([
    "",
    ",",
    "a",
    "a=",
    "=1",
    "A=1",
    "a=1=2",
    "a=é",
    "a=1\u0000",
    "a=1,a=2",
    "a@=1",
    "@a=1",
    "a@b@c=1",
    "a@1=1",
    `${"k".repeat(257)}=1`,
    `a=${"x".repeat(257)}`,
    Array.from({ length: 33 }, (_, index) => `k${index}=1`).join(),
  ])("that is not valid is left out: %j", (text) => expect(state(text)).toBeNull());

  test("that is too long loses its long entries first, then its last ones", () => {
    const [long, ...short] = [entry("long", 200), entry("b", 128), entry("c", 128), entry("d", 128), entry("e", 128)];
    expect(state([long, ...short.slice(0, 3)].join())).toBe(short.slice(0, 3).join());
    expect(state(short.join())).toBe(short.slice(0, 3).join());
    expect(state(`${long},${entry("f", 250)},${entry("g", 250)}`)).toBeNull();
  });
});
