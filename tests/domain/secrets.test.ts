import { describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import fc from "fast-check";
import { environmentProblem } from "../../lib/domain/environment.ts";
import { ENVIRONMENT_BYTES, SECRET_BYTES, SECRETS_OF_FUNCTION_BYTES } from "../../lib/domain/limits.ts";
import { checkSecretUses, SecretName, secretSizeProblem, SecretUse } from "../../lib/domain/secrets.ts";

const name = fc.constantFrom("a", "b", "c", "d");
const use = fc.record({ name, environment: fc.option(fc.constantFrom("A", "B", "C", "REQUEST_ID", "__proto__")) });
const environment = fc.dictionary(fc.constantFrom("A", "B", "X", "__proto__"), fc.string());

function accepted(run: () => void): boolean {
  try {
    run();
    return true;
  } catch {
    return false;
  }
}

describe("SecretName", () => {
  test("is always a valid file name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        if (!Value.Check(SecretName, text)) return;
        expect(text).not.toMatch(/[/\0\n]|^\.|^$/);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(255);
      }),
    );
  });
});

describe("SecretUse", () => {
  test("allows only variables that a process can have", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        if (!Value.Check(SecretUse, { name: "a", environment: text })) return;
        expect(environmentProblem(text, "")).toBeUndefined();
      }),
    );
  });
});

describe("checkSecretUses", () => {
  test("accepts each file and each variable once, except the server's and those in environment", () => {
    fc.assert(
      fc.property(fc.array(use, { maxLength: 5 }), environment, (secrets, variables) => {
        const files = secrets.filter((one) => one.environment === null).map((one) => one.name);
        const names = secrets.flatMap((one) => (one.environment === null ? [] : [one.environment]));
        const fine =
          new Set(files).size === files.length &&
          new Set(names).size === names.length &&
          names.every((key) => key !== "REQUEST_ID" && !Object.keys(variables).includes(key));
        expect(accepted(() => checkSecretUses(secrets, variables))).toBe(fine);
      }),
    );
  });
});

describe("secretSizeProblem", () => {
  const size = fc.integer({ min: 0, max: SECRET_BYTES });

  test("finds exactly the sizes beyond the limits", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(size, fc.boolean()), { maxLength: 20 }), fc.nat(600_000), (values, other) => {
        const secrets = values.map(([, variable], index) => ({
          name: `${index}`,
          environment: variable ? `V${index}` : null,
        }));
        const bytesOf = (key: string) => values[Number(key)]?.[0] ?? 0;
        const all = values.reduce((sum, [bytes]) => sum + bytes, 0);
        const strings = secrets.flatMap(({ name, environment }) =>
          environment === null ? [] : [`${environment}=${"x".repeat(bytesOf(name))}\0`],
        );
        const variables = [...strings, `E=${"x".repeat(other)}\0`].join("").length;
        const fine = all <= SECRETS_OF_FUNCTION_BYTES && (strings.length === 0 || variables <= ENVIRONMENT_BYTES);
        const problem = secretSizeProblem({ secrets, environment: { E: "x".repeat(other) } }, bytesOf);
        expect(problem === undefined).toBe(fine);
      }),
    );
  });
});
