import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { contractAfter } from "../../../lib/domain/functions/contract.ts";
import { isolationAfter } from "../../../lib/domain/functions/isolation.ts";
import { checkSettings, isRoot, settingsAfterChange, settingsAtCreation } from "../../../lib/domain/functions/rules.ts";
import { SETTING_DEFAULTS, type Settings } from "../../../lib/domain/functions/settings.ts";
import { anySettings } from "../../support/any-settings.ts";

/** Generates some of the settings, as in a body or in an image's labels. */
const someSettings: fc.Arbitrary<Partial<Settings>> = fc
  .tuple(anySettings, fc.subarray(Object.keys(SETTING_DEFAULTS)))
  .map(([settings, names]) =>
    // A port that is null is the image's.
    Object.fromEntries(
      Object.entries(settings).filter(([name, value]) => names.includes(name) && !(name === "port" && value === null)),
    ),
  );

/** Returns whether a record shows what the sandbox `strict` implies. */
function isTrue({ sandbox, read_only }: Settings): boolean {
  return sandbox !== "strict" || read_only;
}

describe("settingsAtCreation", () => {
  test("takes given settings, else the image's, else the defaults", () => {
    expect(settingsAtCreation({}, {})).toEqual(SETTING_DEFAULTS);
    expect(settingsAtCreation({ pids: 5, context_bytes: null }, { pids: 6, context_bytes: 7, cpus: 2 })).toEqual({
      ...SETTING_DEFAULTS,
      pids: 5,
      context_bytes: null,
      cpus: 2,
    });
  });

  test("keeps given settings, and shows what `strict` implies unless the opposite was given", () => {
    fc.assert(
      fc.property(someSettings, someSettings, (given, ofImage) => {
        const settings = settingsAtCreation(given, ofImage);
        expect(settings).toMatchObject(given);
        if (given.read_only === undefined && ofImage.read_only === undefined) expect(isTrue(settings)).toBe(true);
        if (settings.sandbox === "strict" && { ...ofImage, ...given }.network === undefined) {
          expect(settings.network).toBe("none");
        }
      }),
    );
  });
});

describe("settingsAfterChange", () => {
  test("keeps given settings, and never adds a network", () => {
    fc.assert(
      fc.property(anySettings, someSettings, (before, given) => {
        const after = { ...before, ...settingsAfterChange(before, given) };
        expect(after).toMatchObject(given);
        const ofServers = given.contract === "http" ? ["isolated"] : [];
        if (given.network === undefined) expect([before.network, "none", ...ofServers]).toContain(after.network);
        // A contradiction to `strict` is refused elsewhere.
        if (given.read_only === undefined) expect(isTrue(after)).toBe(true);
      }),
    );
  });

  test("changes only given settings, and what follows from them for isolation and contract, if the sandbox stays", () => {
    fc.assert(
      fc.property(anySettings, someSettings, ({ sandbox, ...before }, given) => {
        const contract = given.contract === undefined ? {} : contractAfter(given.contract, given);
        const following = { ...isolationAfter(before, given), ...contract };
        const after = settingsAfterChange({ ...before, sandbox }, { ...given, sandbox });
        // The differences for servers have tests of their own.
        const { network: _network, warm_max: _max, port: _port, ...rest } = after;
        const { network: _given, warm_max: _givenMax, port: _givenPort, ...expected } = { ...given, ...following };
        expect(rest).toEqual({ ...expected, sandbox });
      }),
    );
  });
});

test("checkSettings accepts the defaults, and never a network or a user that would let a function escape", () => {
  checkSettings(SETTING_DEFAULTS);
  fc.assert(
    fc.property(anySettings, ({ network, sandbox, user, labels }) => {
      expect(network).not.toMatch(/^(?:host$|default$|container:)/);
      if (sandbox === "strict" && user !== null) expect(isRoot(user)).toBe(false);
      expect(Object.keys(labels).filter((key) => key.startsWith("slipway."))).toEqual([]);
    }),
  );
});

test.each([
  ["", true],
  ["0", true],
  ["000", true],
  ["root", true],
  ["root:1000", true],
  ["0:1000", true],
  [":1000", true],
  ["1000:0", false],
  ["1000", false],
  ["nobody", false],
  ["rooty", false],
])("isRoot of %j is %p", (user, expected) => {
  expect(isRoot(user)).toBe(expected);
});
