import { Type } from "@sinclair/typebox";
import { CALLBACK_URL_LENGTH } from "../limits.ts";
import { Retry } from "./retry.ts";
import { Nullable } from "../types.ts";

const follower = (when: string) =>
  Nullable(
    Type.String({
      minLength: 1,
      description: `The function, by its id or name, that gets the result of an asynchronous invocation that ${when}, as its own request.`,
      examples: [null],
    }),
  );

/** The settings of a function's asynchronous invocations, and of what is kept of all of them. */
export const ASYNC_SETTINGS = {
  retry: Retry,
  callback_url: Nullable(
    Type.String({
      minLength: 1,
      maxLength: CALLBACK_URL_LENGTH,
      description: "Where the result of each asynchronous invocation is sent, unless the call names another place.",
      examples: [null],
    }),
  ),
  on_success: follower("succeeded"),
  on_failure: follower("failed for good"),
  record_bodies: Type.Boolean({
    description: "Keep requests and results of synchronous invocations too, so that they can be shown and replayed.",
    examples: [false],
  }),
} as const;
