import type { Function } from "../functions/functions.ts";

type Named = Pick<Function, "id" | "name" | "version" | "environment">;

/** The port at which functions of the contract `lambda` ask for their calls, as in AWS's own sandbox. */
export const RUNTIME_API_PORT = 9001;

/** The account in the names of functions: there are none here. */
export const ACCOUNT = "000000000000";
const REGION = "us-east-1";

/** Returns the region that a function believes to be in: its own variable, or AWS's default. */
export function regionOf({ environment }: Pick<Named, "environment">): string {
  return environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"] ?? REGION;
}

/** Returns the ARN by which a function is called. */
export function functionArn(fn: Named): string {
  return `arn:aws:lambda:${regionOf(fn)}:${ACCOUNT}:function:${fn.name ?? fn.id}`;
}
