import { Type } from "@sinclair/typebox";
import { CALLBACK_URL_LENGTH } from "../limits.ts";
import { Retry } from "./retry.ts";
import { Flag, Nullable } from "../types.ts";

const follower = (when: string) =>
  Nullable(
    Type.String({
      minLength: 1,
      description: `The function (id or name) that is invoked with the result of an asynchronous invocation that ${when}.`,
      examples: [null],
    }),
  );

/** The settings for asynchronous invocations, and for the bodies that are kept of all invocations. */
export const ASYNC_SETTINGS = {
  retry: Retry,
  callback_url: Nullable(
    Type.String({
      minLength: 1,
      maxLength: CALLBACK_URL_LENGTH,
      description: "The URL that gets the result of each asynchronous invocation, unless the call names another.",
      examples: [null],
    }),
  ),
  on_success: follower("succeeded"),
  on_failure: follower("failed for good"),
  record_bodies: Flag(
    "Also keep the requests and results of synchronous invocations, so that they can be shown and replayed.",
  ),
  store_credentials: Flag(
    "Keep the callers' credentials (`Authorization`, `Cookie` and the like) in stored requests, which are those of asynchronous " +
      "invocations and of `record_bodies`. By default they are left out, so that such an invocation runs without them.",
  ),
} as const;
