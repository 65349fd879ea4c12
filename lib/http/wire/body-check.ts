import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { AppError } from "../../domain/errors.ts";
import { validationMessage } from "./validation-message.ts";

/**
 * Returns the check of a body, which returns it or throws `invalid_request`. It comes before Elysia's own, whose error
 * collects every problem and writes the whole body into its message: that takes seconds for a body made for it. The schema
 * is compiled at the first body, since a start has no time for that.
 */
export function bodyCheck(schema: unknown): (body: unknown) => unknown {
  let compiled: TypeCheck<TSchema> | undefined;
  return (body) => {
    // The schema of an endpoint is one of TypeBox.
    compiled ??= TypeCompiler.Compile(schema as TSchema);
    if (compiled.Check(body)) return body;
    throw new AppError("invalid_request", validationMessage("body", compiled, body));
  };
}
