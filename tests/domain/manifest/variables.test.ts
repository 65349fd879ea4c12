import { type TSchema, Type } from "@sinclair/typebox";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MANIFEST_DEPTH, MANIFEST_EXPANDED_LENGTH, MANIFEST_VALUES } from "../../../lib/domain/limits.ts";
import { Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { escapeDollars, expand, variablesIn } from "../../../lib/domain/manifest/variables.ts";

const VARIABLES = { A: "one", EMPTY: "", N: "8", _x1: "$A ${A} $$", ["__proto__"]: "own" };

describe("expand", () => {
  test.each<[text: string, expected: string]>([
    ["plain", "plain"],
    ["${A}", "one"],
    ["x${A}-${A}y", "xone-oney"],
    ["${EMPTY}", ""],
    ["${EMPTY:-two}", "two"],
    ["${NONE:-two}", "two"],
    ["${NONE:-}", ""],
    ["${NONE:-a:-b}", "a:-b"],
    ["${NONE:-two\nlines}", "two\nlines"],
    ["${NONE:-$$5}", "$5"],
    ["${A:-two}", "one"],
    ["${_x1}", "$A ${A} $$"],
    ["${__proto__}", "own"],
    ["$${A}", "${A}"],
    ["$$${A}", "$one"],
    ["$$$$", "$$"],
    ["echo $HOME $1 $(date) 5$", "echo $HOME $1 $(date) 5$"],
  ])("turns %j into %j", (text, expected) => {
    expect(expand(text, Type.String(), VARIABLES)).toBe(expected);
  });

  test.each(["${}", "${1A}", "${A", "${A-x}", "${A%x}", "${ A }", "${a.b}", "${A:=x}", "${NONE:-${A}}"])(
    "refuses %j and names the place",
    (text) => {
      expect(() => expand({ functions: { f: { image: text } } }, Manifest, VARIABLES)).toThrow(
        'Invalid "functions/f/image": "${',
      );
      expect(() => expand([text], Type.Any(), VARIABLES)).toThrow(
        "is not a variable: write ${NAME} or ${NAME:-default} (with no other variable in it), or $${ for a dollar and a brace",
      );
    },
  );

  test("names each missing variable once", () => {
    expect(() => expand({ a: "${B} ${C}", b: ["${B}", "${toString}", "${D:-x}"] }, Type.Any(), VARIABLES)).toThrow(
      'The manifest mentions variables that were not given: "B", "C", "toString". Give them, or write ${NAME:-default}',
    );
    const many = Array.from({ length: 60 }, (_, i) => `\${V${i}}`);
    expect(() => expand(many, Type.Any(), {})).toThrow('"V49", 10 more. Give them');
  });

  test.each<[what: unknown, schema: TSchema, expected: unknown]>([
    ["${N}", Type.Integer(), 8],
    ["${N}", Type.String(), "8"],
    ["${N}", Type.Union([Type.Integer(), Type.Null()]), 8],
    ["${X:--0.50}", Type.Number(), -0.5],
    ["${X:-007}", Type.Integer(), 7],
    ["${X:-true}", Type.Boolean(), true],
    ["${X:-null}", Type.Union([Type.Integer(), Type.Null()]), null],
    ["${X:-abc}", Type.Integer(), "abc"],
    ["${X:-1e3}", Type.Integer(), "1e3"],
    ["${X:-5}", Type.Boolean(), "5"],
    ["8", Type.Integer(), "8"],
    [["${N}", "x"], Type.Array(Type.Union([Type.Integer(), Type.String()])), ["8", "x"]],
    [
      { a: "${N}", b: "${N}" },
      Type.Object({ a: Type.Integer() }, { additionalProperties: Type.String() }),
      { a: 8, b: "8" },
    ],
    [{ constructor: "${N}" }, Type.Object({ a: Type.Integer() }), { constructor: "8" }],
  ])("%j becomes a value for %j", (value, schema, expected) => {
    expect(expand(value, schema, VARIABLES)).toEqual(expected);
  });

  test("knows the types of a manifest's fields", () => {
    const functions = {
      f: {
        image: "a:${N}",
        timeout_ms: "${X:-5000}",
        cpus: "${X:-0.5}",
        read_only: "${X:-true}",
        context_bytes: "${X:-null}",
        pids: 9,
        environment: { PORT: "${N}", NULL: "${X:-null}" },
        command: ["${N}"],
        labels: { n: "${N}" },
        secrets: [{ name: "${N}", environment: "${X:-null}" }],
      },
    };
    const routes = {
      "/${N}": { function: "f", rate_limit: { requests: "${N}", by: "${X:-key}" }, methods: ["${X:-GET}"] },
    };
    expect(expand({ version: "${X:-1}", functions, routes }, Manifest, VARIABLES)).toEqual({
      version: 1,
      functions: {
        f: {
          image: "a:8",
          timeout_ms: 5_000,
          cpus: 0.5,
          read_only: true,
          context_bytes: null,
          pids: 9,
          environment: { PORT: "8", NULL: "null" },
          command: ["8"],
          labels: { n: "8" },
          // A possible name of a variable.
          secrets: [{ name: "8", environment: "null" }],
        },
      },
      routes: { "/${N}": { function: "f", rate_limit: { requests: 8, by: "key" }, methods: ["GET"] } },
    });
  });

  test("has limits, whatever the aliases share", () => {
    const wide = Array<string>(1_000).fill("x");
    const values = Array<string[]>(MANIFEST_VALUES / 1_000).fill(wide);
    expect(() => expand(values, Type.Any(), {})).toThrow(
      `The manifest has more than ${MANIFEST_VALUES} values: apply it`,
    );
    const circle: unknown[] = [];
    circle.push(circle);
    expect(() => expand(circle, Type.Any(), {})).toThrow(`The manifest is nested deeper than ${MANIFEST_DEPTH} levels`);
    const long = "x".repeat(100_000);
    const mentions = Array<string>(Math.ceil(MANIFEST_EXPANDED_LENGTH / 100_000)).fill("${A}");
    expect(() => expand(mentions, Type.Any(), { A: long })).toThrow("characters with all variables and aliases");
    expect(() =>
      expand(
        Array.from({ length: 50 }, () => ({ [long]: 1 })),
        Type.Any(),
        {},
      ),
    ).toThrow("characters with all");
    expect(() => expand([mentions.join("")], Type.Any(), { A: long })).toThrow("characters with all");
  });

  test("shares nothing with its input, and keeps a field named __proto__", () => {
    const shared = { b: 1 };
    const value: unknown = JSON.parse('{"__proto__": {"a": "${A}"}, "toString": "x"}');
    expect(JSON.stringify(expand(value, Manifest, VARIABLES))).toBe('{"__proto__":{"a":"one"},"toString":"x"}');
    const [one, other] = expand([shared, shared], Type.Any(), {}) as object[]; // a list, as it was
    expect(one).toEqual(shared);
    expect(one).not.toBe(other);
  });

  test("reverses escapeDollars", () => {
    const text = fc.string({ unit: fc.constantFrom("$", "{", "}", ":", "-", "A", "x") });
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        text,
        fc.integer(),
        fc.constant(null),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(text, tie("value")),
      ),
    }));
    fc.assert(
      fc.property(value, (some) => expect(expand(escapeDollars(some), Type.Any(), {})).toEqual(some)),
      {
        numRuns: 5_000,
      },
    );
  });
});

test.each<[text: string, names: string[]]>([
  ["a: ${A} # ${B:-x} ${A}", ["A", "B"]],
  ["$${A} $$${B} $C ${1} ${D", ["B"]],
  ["none", []],
])("variablesIn: %j mentions %j", (text, names) => {
  expect([...variablesIn(text)]).toEqual(names);
});
