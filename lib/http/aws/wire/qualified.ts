import type { Function } from "../../../domain/functions/functions.ts";
import { functionArn } from "../../../domain/lambda/names.ts";
import { quoted } from "../../../domain/quoted.ts";
import { AppError } from "../../../domain/errors.ts";
import { AwsError } from "./errors.ts";
import { LATEST, parseFunctionName } from "./function-names.ts";
import type { AwsRequest, AwsTools } from "./tools.ts";

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
  const number = /^[1-9]\d{0,14}$/.test(qualifier) ? Number(qualifier) : undefined;
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

/** Throws for a request with a body that is no JSON object; no body is an empty one. */
export function objectOf(value: unknown): Record<string, unknown> {
  if (value === undefined) return {};
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new AppError("invalid_request", "The request body is not a JSON object");
  }
  return value as Record<string, unknown>; // an object that is no array
}
