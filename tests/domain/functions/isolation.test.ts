import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isBooted } from "../../../lib/domain/functions/contract.ts";
import {
  contextBytes,
  gateReserve,
  isolationAfter,
  type IsolationSettings,
  isolationTo,
  ISOLATIONS,
  scratchBytes,
} from "../../../lib/domain/functions/isolation.ts";
import { checkSettings, settingsAfterChange, settingsAtCreation } from "../../../lib/domain/functions/rules.ts";
import { SETTING_DEFAULTS, type Settings } from "../../../lib/domain/functions/settings.ts";
import { anySettings } from "../../support/any-settings.ts";

const MIB = 1024 * 1024;

type Given = Partial<Pick<Settings, "isolation" | "max_calls" | "scratch_bytes">>;

const container: Given = { isolation: "container", max_calls: 1, scratch_bytes: null };
const process: Given = { isolation: "process", max_calls: 0, scratch_bytes: null };
const cell: Given = { isolation: "cell", max_calls: 0, scratch_bytes: null };

const someIsolation: fc.Arbitrary<Given> = fc.record(
  {
    isolation: fc.constantFrom(...ISOLATIONS),
    max_calls: fc.constantFrom(0, 1, 2, 1_000_000),
    scratch_bytes: fc.constantFrom(null, 4 * MIB),
  },
  { requiredKeys: [] },
);

function chosen({ isolation, max_calls, scratch_bytes }: Settings): Omit<IsolationSettings, "contract"> {
  return { isolation, max_calls, scratch_bytes };
}

function problemOf(given: Partial<Settings>): string | undefined {
  try {
    checkSettings({ ...SETTING_DEFAULTS, ...given });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("a new function", () => {
  test.each<readonly [Given, Given, Given]>([
    [{}, {}, container],
    [{ isolation: "container" }, {}, container],
    [{ isolation: "cell" }, {}, cell],
    [{ isolation: "process" }, {}, process],
    [{ isolation: "cell", max_calls: 5 }, {}, { ...cell, max_calls: 5 }],
    [{ isolation: "cell", max_calls: 1 }, {}, { ...cell, max_calls: 1 }],
    [{ isolation: "cell", scratch_bytes: 9 * MIB }, {}, { ...cell, scratch_bytes: 9 * MIB }],
    // As before there was `isolation`.
    [{ max_calls: 1 }, {}, container],
    [{ max_calls: 0 }, {}, process],
    [{ max_calls: 5 }, {}, { ...process, max_calls: 5 }],
    [{}, { max_calls: 3 }, { ...process, max_calls: 3 }],
    [{ max_calls: 1 }, { max_calls: 3 }, container],
    // A given setting goes before the image's labels, even if one follows from the other.
    [{ isolation: "container" }, { max_calls: 3 }, container],
    [{ isolation: "container" }, { isolation: "process", scratch_bytes: 9 * MIB }, container],
    [{ isolation: "cell" }, { scratch_bytes: 9 * MIB }, { ...cell, scratch_bytes: 9 * MIB }],
    [{ max_calls: 3 }, { isolation: "container" }, { ...process, max_calls: 3 }],
    [{ isolation: "cell" }, { max_calls: 3 }, { ...cell, max_calls: 3 }],
  ])("%j with an image that says %j has %j", (given, ofImage, expected) => {
    const settings = settingsAtCreation(given, ofImage);
    expect<Given>(chosen(settings)).toEqual(expected);
    checkSettings(settings);
  });
});

describe("a change", () => {
  test.each<readonly [Given, Given, Given]>([
    // `max_calls` alone, as before there was `isolation`.
    [container, { max_calls: 0 }, process],
    [container, { max_calls: 1 }, container],
    [process, { max_calls: 5 }, { ...process, max_calls: 5 }],
    [process, { max_calls: 1 }, container],
    [{ ...process, max_calls: 1 }, { max_calls: 1 }, { ...process, max_calls: 1 }],
    [cell, { max_calls: 5 }, { ...cell, max_calls: 5 }],
    [cell, { max_calls: 1 }, { ...cell, max_calls: 1 }],
    // `isolation` alone.
    [container, { isolation: "cell" }, cell],
    [container, { isolation: "process" }, process],
    [{ ...process, max_calls: 5 }, { isolation: "container" }, container],
    [{ ...process, max_calls: 5 }, { isolation: "process" }, { ...process, max_calls: 5 }],
    [{ ...process, max_calls: 5 }, { isolation: "cell" }, { ...cell, max_calls: 5 }],
    [{ ...cell, max_calls: 5 }, { isolation: "process" }, { ...process, max_calls: 5 }],
    // The settings of cells go with them, and stay with them.
    [{ ...cell, scratch_bytes: 9 * MIB }, { isolation: "container" }, container],
    [{ ...cell, scratch_bytes: 9 * MIB }, { isolation: "process" }, process],
    [{ ...cell, scratch_bytes: 9 * MIB }, { max_calls: 7 }, { ...cell, max_calls: 7, scratch_bytes: 9 * MIB }],
    [{ ...cell, scratch_bytes: 9 * MIB }, { scratch_bytes: null }, cell],
    [container, { isolation: "process", max_calls: 9 }, { ...process, max_calls: 9 }],
  ])("of %j by %j gives %j", (before, given, expected) => {
    const settings = { ...SETTING_DEFAULTS, ...before };
    const after = { ...settings, ...settingsAfterChange(settings, given) };
    expect<Given>(chosen(after)).toEqual(expected);
    checkSettings(after);
  });

  test("says what was given, and what does not contradict itself can be", () => {
    fc.assert(
      fc.property(someIsolation, anySettings, (given, before) => {
        const after = { ...before, ...given, ...isolationAfter(before, given) };
        expect(after).toMatchObject(given);
        const contradiction = given.isolation === "container" && (given.max_calls ?? 1) !== 1;
        const isSingle = after.isolation === "container" && !isBooted(after.contract);
        if (!contradiction) expect(isSingle ? after.max_calls : 1).toBe(1);
        if (given.scratch_bytes === undefined && after.isolation !== "cell") expect(after.scratch_bytes).toBeNull();
      }),
    );
  });

  test("is made by the fewest of them that a manifest needs", () => {
    fc.assert(
      fc.property(anySettings, anySettings, (some, after) => {
        // The contract is chosen first.
        const before = { ...some, contract: after.contract };
        const given = isolationTo(before, after);
        const { isolation, max_calls } = { ...before, ...given, ...isolationAfter(before, given) };
        expect({ isolation, max_calls }).toEqual({ isolation: after.isolation, max_calls: after.max_calls });
      }),
    );
    const to = (after: Given) => isolationTo(SETTING_DEFAULTS, { ...SETTING_DEFAULTS, ...after });
    expect(to(container)).toEqual({});
    expect(to(process)).toEqual({ max_calls: 0 });
    expect(to({ ...process, max_calls: 5 })).toEqual({ max_calls: 5 });
    expect(to({ ...process, max_calls: 1 })).toEqual({ isolation: "process", max_calls: 1 });
    expect(to(cell)).toEqual({ isolation: "cell" });
    expect(to({ ...cell, max_calls: 5 })).toEqual({ isolation: "cell", max_calls: 5 });
  });
});

test.each<readonly [Partial<Settings>, string | undefined]>([
  [
    { isolation: "container", max_calls: 5 },
    '"isolation" is "container", which is a fresh container for each call, and "max_calls" is 5: leave "max_calls" out, or give the isolation "cell" or "process"',
  ],
  [
    { isolation: "container", max_calls: 0 },
    '"isolation" is "container", which is a fresh container for each call, and "max_calls" is 0: leave "max_calls" out, or give the isolation "cell" or "process"',
  ],
  [
    { scratch_bytes: MIB },
    '"scratch_bytes" is 1048576, which only a cell has, and the isolation is "container": give null, or the isolation "cell"',
  ],
  [
    { isolation: "process", max_calls: 0, scratch_bytes: MIB },
    '"scratch_bytes" is 1048576, which only a cell has, and the isolation is "process": give null, or the isolation "cell"',
  ],
  [
    { isolation: "cell", scratch_bytes: 36 * MIB, context_bytes: 16 * MIB, memory_bytes: 64 * MIB },
    '"scratch_bytes" is 37748736, and beside the context of 16777216 bytes at most 36909875 fit into the "memory_bytes" of 67108864: lower "scratch_bytes" or "context_bytes", or raise "memory_bytes"',
  ],
  [{ isolation: "cell", scratch_bytes: 35 * MIB, context_bytes: 16 * MIB, memory_bytes: 64 * MIB }, undefined],
])("checkSettings of %j says %p", (given, problem) => {
  expect(problemOf(given)).toBe(problem);
});

test.each([
  [256 * MIB, null, null, 64 * MIB],
  [256 * MIB, 202 * MIB, null, 20 * MIB],
  [16 * MIB, 9 * MIB, null, 2 * MIB],
  [16 * MIB, 16 * MIB - 1, null, 4096],
  [256 * MIB, null, 9 * MIB, 9 * MIB],
])("scratchBytes of %d bytes with a context of %p and %p is %d", (memory_bytes, context_bytes, scratch_bytes, size) => {
  expect(scratchBytes({ memory_bytes, context_bytes, scratch_bytes })).toBe(size);
});

test("the context and the scratch space of a cell leave some memory, and neither is without a limit", () => {
  fc.assert(
    fc.property(anySettings, (settings) => {
      const left = settings.memory_bytes - contextBytes(settings) - gateReserve(settings.memory_bytes);
      const scratch = scratchBytes(settings);
      expect(scratch).toBeGreaterThan(0);
      if (settings.isolation === "cell" && left > 8192) expect(scratch + scratch / 4).toBeLessThanOrEqual(left);
    }),
  );
});
