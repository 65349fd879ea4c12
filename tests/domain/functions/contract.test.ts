import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  CONTRACT_DEFAULTS,
  contractProblem,
  contractReason,
  CONTRACTS,
} from "../../../lib/domain/functions/contract.ts";
import { checkSettings, settingsAfterChange, settingsAtCreation } from "../../../lib/domain/functions/rules.ts";
import { SETTING_DEFAULTS } from "../../../lib/domain/functions/settings.ts";
import { settingsOfLabels } from "../../../lib/domain/images/labels.ts";
import { needsNoNewContainer } from "../../../lib/runner/pool/compatibility.ts";
import { functionOf } from "../../runner/pool/fake-instances.ts";

const STDIO = { contract: "stdio", content_type: "text/plain", output: "cgi" } as const;

describe("the contract of a function", () => {
  test("is `files` unless the request or the image's label says otherwise", () => {
    expect(settingsAtCreation({}, {})).toMatchObject(CONTRACT_DEFAULTS);
    expect(settingsAtCreation({}, STDIO)).toMatchObject(STDIO);
    expect(settingsAtCreation(STDIO, { contract: "files" })).toMatchObject(STDIO);
    expect(contractReason({}, undefined)).toBe("default");
    expect(contractReason({}, STDIO)).toBe("label");
    expect(contractReason({ contract: "files" }, STDIO)).toBe("setting");
  });

  test("takes what belongs to `stdio` alone with it when it changes", () => {
    expect(settingsAtCreation({ contract: "files" }, STDIO)).toMatchObject(CONTRACT_DEFAULTS);
    expect(settingsAfterChange({ ...SETTING_DEFAULTS, ...STDIO }, { contract: "files" })).toEqual(CONTRACT_DEFAULTS);
    expect(settingsAfterChange(SETTING_DEFAULTS, { contract: "stdio" })).toEqual({ contract: "stdio" });
  });

  test("in labels is one of those that there are", () => {
    expect(
      settingsOfLabels("i", {
        "slipway.contract": "stdio",
        "slipway.content_type": "text/csv",
        "slipway.output": "cgi",
      }),
    ).toEqual({
      ...STDIO,
      content_type: "text/csv",
    });
    expect(() => settingsOfLabels("i", { "slipway.contract": "http" })).toThrow('must be "files" or "stdio"');
  });

  test("needs containers of its own, but not what is done with the output", () => {
    const fn = functionOf("f");
    expect(needsNoNewContainer(fn, { ...fn, contract: "stdio" })).toBe(false);
    expect(needsNoNewContainer({ ...fn, ...STDIO }, { ...fn, contract: "stdio" })).toBe(true);
  });
});

describe("contractProblem", () => {
  test.each(["text/plain", "text/html; charset=utf-8", "image/svg+xml", 'multipart/mixed; boundary="a b"', "a/b;c"])(
    "takes the media type %s",
    (content_type) => {
      expect(contractProblem({ ...STDIO, content_type })).toBeUndefined();
    },
  );

  test.each([
    "text",
    "text/",
    "/plain",
    "text/plain charset",
    "a b/c",
    "text/plain\r\nx: y",
    "text/plain;\0",
    "text/plain; é",
  ])("refuses the media type %p", (content_type) => {
    expect(contractProblem({ ...STDIO, content_type })).toStartWith('Invalid "content_type"');
  });

  test("never lets a content type through that no header can have", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (content_type) => {
        if (contractProblem({ ...STDIO, content_type }) !== undefined) return;
        expect(() => new Headers({ "content-type": content_type })).not.toThrow();
      }),
    );
  });

  test("refuses for other contracts what belongs to `stdio`", () => {
    for (const contract of CONTRACTS.filter((one) => one !== "stdio")) {
      expect(contractProblem({ ...CONTRACT_DEFAULTS, contract, content_type: "text/plain" })).toStartWith(
        '"content_type" belongs to',
      );
      expect(() => checkSettings({ ...SETTING_DEFAULTS, contract, output: "cgi" })).toThrow(
        '"output" belongs to the contract "stdio"',
      );
    }
  });
});
