import { describe, expect, test } from "bun:test";
import { parseFunctionName } from "../../../../lib/http/aws/wire/function-names.ts";
import { thrownBy } from "../../../store/sqlite/support/stores.ts";

const ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello";

describe("parseFunctionName", () => {
  test.each<readonly [string, string | null, string, string | undefined]>([
    ["hello", null, "hello", undefined],
    ["hello", "2", "hello", "2"],
    ["hello:2", null, "hello", "2"],
    ["hello:$LATEST", null, "hello", "$LATEST"],
    ["hello:2", "2", "hello", "2"],
    [ARN, null, "hello", undefined],
    [`${ARN}:2`, null, "hello", "2"],
    ["arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:hello:prod", null, "hello", "prod"],
    ["123456789012:function:hello", null, "hello", undefined],
    ["function:hello:3", null, "hello", "3"],
    ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11:1", null, "0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11", "1"],
  ])("reads %j with the qualifier %j", (subject, ofQuery, name, qualifier) => {
    expect(parseFunctionName(subject, ofQuery)).toEqual({ name, qualifier });
  });

  test.each(["", "a b", "a:b:c", "a/b", "arn:aws:s3:::bucket", `${ARN}:`, "é"])("refuses %j", (subject) => {
    expect(thrownBy(() => parseFunctionName(subject, null))).toMatchObject({
      error: "InvalidParameterValueException",
      message: expect.stringContaining("Invalid FunctionName"),
    });
  });

  test("refuses two qualifiers that differ", () => {
    expect(thrownBy(() => parseFunctionName("hello:1", "2"))).toMatchObject({
      message: 'The qualifier in the FunctionName, "1", is not the Qualifier, "2": give one of them',
    });
  });
});
