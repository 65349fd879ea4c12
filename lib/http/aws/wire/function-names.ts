import type { Function } from "../../../domain/functions/functions.ts";
import { ACCOUNT } from "../../../domain/lambda/names.ts";
import { quoted } from "../../../domain/quoted.ts";
import { AwsError } from "./errors.ts";

/** The qualifier of a function as it is now. */
export const LATEST = "$LATEST";

/** A name, an id, a partial ARN or a whole one, each with a qualifier or without. */
const NAMED =
  /^(?:arn:aws[a-z-]*:lambda:)?(?:[a-z]{2}(?:-[a-z]+)+-\d:)?(?:\d{12}:)?(?:function:)?([\w.-]+)(?::(\$LATEST|[\w-]+))?$/;

/** A function as a request names it. */
export interface Named {
  readonly name: string;
  /** `$LATEST`, the number of a version, or an alias; undefined if the request does not say. */
  readonly qualifier: string | undefined;
}

/** Reads the name in a path and the `Qualifier` of a query, which must agree. Throws `InvalidParameterValueException`. */
export function parseFunctionName(subject: string, ofQuery: string | null): Named {
  const [, name, ofName] = NAMED.exec(subject) ?? [];
  if (name === undefined) {
    throw new AwsError(
      "InvalidParameterValueException",
      `Invalid FunctionName ${quoted(subject)}: give a name, an id or an ARN, with a version behind a colon or without`,
    );
  }
  const qualifier = ofQuery ?? undefined;
  if (ofName !== undefined && qualifier !== undefined && ofName !== qualifier) {
    throw new AwsError(
      "InvalidParameterValueException",
      `The qualifier in the FunctionName, ${quoted(ofName)}, is not the Qualifier, ${quoted(qualifier)}: give one of them`,
    );
  }
  return { name, qualifier: ofName ?? qualifier };
}

/** Returns the name that clients know a function by. */
export function functionName({ id, name }: Pick<Function, "id" | "name">): string {
  return name ?? id;
}

/** The role that answers name: functions here have none. */
export const ROLE = `arn:aws:iam::${ACCOUNT}:role/slipway`;
