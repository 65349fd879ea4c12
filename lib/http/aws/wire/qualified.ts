import type { Function } from "../../../domain/functions/functions.ts";
import { functionArn } from "../../../domain/lambda/names.ts";
import { type Caller, hasScope } from "../../../domain/keys.ts";
import { quoted } from "../../../domain/quoted.ts";
import { AppError } from "../../../domain/errors.ts";
import { AwsError } from "./errors.ts";
import { LATEST, parseFunctionName } from "./function-names.ts";
import type { AwsRequest, AwsTools } from "./tools.ts";

const VERSION = /^[1-9]\d{0,14}$/;

/** A function in the version that a request names. */
export interface Qualified {
  readonly function: Function;
  /** `$LATEST` for the function as it is now, unless the request names the number of a version. */
  readonly version: string;
}

/** Finds the function that a request names; throws `ResourceNotFoundException`, or what is wrong with the name. */
export function findFunction(
  { functions }: Pick<AwsTools, "functions">,
  { subject, query }: AwsRequest,
): {
  readonly fn: Function;
  readonly qualifier: string | undefined;
} {
  const { name, qualifier } = parseFunctionName(subject, query.get("Qualifier"));
  return { fn: functions.get(name), qualifier };
}

/** Returns a function in the version of that qualifier. Throws `ResourceNotFoundException` for one that it does not have. */
export async function atQualifier(
  { functions }: Pick<AwsTools, "functions">,
  fn: Function,
  qualifier: string | undefined,
): Promise<Qualified> {
  if (qualifier === undefined || qualifier === LATEST) return { function: fn, version: LATEST };
  const number = VERSION.test(qualifier) ? Number(qualifier) : undefined;
  const found = number === undefined ? undefined : await functions.findVersion(fn, number);
  if (found !== undefined) return { function: found, version: qualifier };
  throw new AwsError(
    "ResourceNotFoundException",
    number === undefined
      ? `Function not found: ${functionArn(fn)} has no alias ${quoted(qualifier)}, as functions here have none: give the number of a version, or $LATEST`
      : `Function not found: ${functionArn(fn)} has no version ${qualifier}, the latest is ${fn.version}`,
    "not_found",
  );
}

/**
 * Returns a function in the version that a caller wants to call. One who may only call functions gets those that calls reach anyway, the
 * current one and those that routes name, and learns nothing of the others. Throws `ResourceNotFoundException`.
 */
export async function calledAt(
  tools: Pick<AwsTools, "functions">,
  fn: Function,
  qualifier: string | undefined,
  caller: Caller,
): Promise<Qualified> {
  if (hasScope(caller, ["read", "deploy"]) || qualifier === undefined || qualifier === LATEST)
    return atQualifier(tools, fn, qualifier);
  const found = VERSION.test(qualifier) ? tools.functions.at(fn, Number(qualifier)) : undefined;
  if (found !== undefined) return { function: found, version: qualifier };
  throw new AwsError(
    "ResourceNotFoundException",
    `Function not found: there is no version ${quoted(qualifier)} that this key may call: leave the qualifier out, or send a key with the scope "read"`,
    "not_found",
  );
}

/** Throws for a request with a body that is no JSON object; no body is an empty one. */
export function objectOf(value: unknown): Record<string, unknown> {
  if (value === undefined) return {};
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new AppError("invalid_request", "The request body is not a JSON object");
  }
  return value as Record<string, unknown>; // an object that is no array
}
