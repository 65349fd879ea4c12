import { describe, expect, test } from "bun:test";
import { AWS_CREDENTIALS } from "../../../../lib/http/aws/wire/credentials.ts";

const SCOPE = "20260101/eu-west-1/lambda/aws4_request";

function keyIn(authorization?: string, query = "", others: Record<string, string> = {}): string | undefined {
  const headers = { ...others, ...(authorization !== undefined && { Authorization: authorization }) };
  return AWS_CREDENTIALS.keyIn(new Request(`http://localhost/2015-03-31/functions${query}`, { headers }));
}

describe("the key of a client of AWS's API", () => {
  test.each([
    [`AWS4-HMAC-SHA256 Credential=slipway_a-b/${SCOPE}, SignedHeaders=host, Signature=00`, "slipway_a-b"],
    [`AWS4-HMAC-SHA256 SignedHeaders=host,Credential=key/${SCOPE},Signature=00`, "key"],
    [`AWS4-HMAC-SHA256 Credential=with/two/slashes/${SCOPE}, Signature=00`, "with/two/slashes"],
    ["AWS4-ECDSA-P256-SHA256 Credential=key/20260101/lambda/aws4_request, Signature=00", "key"],
    [`aws4-hmac-sha256 Credential=key/${SCOPE}`, "key"],
    ["AWS4-HMAC-SHA256 Signature=00", ""],
    ["AWS4-HMAC-SHA256 Credential=key", ""],
    ["Bearer key", "key"],
    ["Basic eDp5", ""],
    [undefined, undefined],
  ])("in %j it is %j", (authorization, key) => {
    expect(keyIn(authorization)).toBe(key);
  });

  test("a presigned URL has it in its query", () => {
    const credential = encodeURIComponent(`key/${SCOPE}`);
    expect(keyIn(undefined, `?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}`)).toBe("key");
    expect(keyIn(undefined, "?X-Amz-Credential=")).toBe("");
    const crossSite = { "Sec-Fetch-Site": "cross-site" };
    expect(() => keyIn(undefined, `?X-Amz-Credential=${credential}`, crossSite)).toThrow("another site's page");
    expect(keyIn(`AWS4-HMAC-SHA256 Credential=header/${SCOPE}`, "", crossSite)).toBe("header");
    // The header is the one that clients sign.
    expect(keyIn(`AWS4-HMAC-SHA256 Credential=header/${SCOPE}`, `?X-Amz-Credential=${credential}`)).toBe("header");
  });
});
