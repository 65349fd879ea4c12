import type { FunctionService } from "../../../services/functions/functions.ts";
import type { VersionService } from "../../../services/functions/versions.ts";
import type { IdempotentCalls } from "../../../services/calls/idempotent-calls.ts";
import type { Queue } from "../../../services/work/queue.ts";
import type { Tracing } from "../../../services/tracing/tracing.ts";
import type { CallDeps } from "../../calls/invoke.ts";
import type { AbandonedCalls } from "./abandoned.ts";
import type { Guard } from "../../access/guard.ts";

/** The needs of the operations, each with scopes of its own. */
export type AwsNeed = "invoke" | "read" | "write" | "other";

/** The services behind the operations of AWS's API. */
export interface AwsServices extends CallDeps {
  readonly idempotentCalls: Pick<IdempotentCalls, "invoke" | "stream" | "whenEnded">;
  readonly functions: FunctionService;
  readonly versions: VersionService;
  readonly queue: Pick<Queue, "submit">;
  readonly tracing: Pick<Tracing, "begin">;
}

/** The same, with what the operations remember. */
export interface AwsTools extends AwsServices {
  readonly abandoned: AbandonedCalls;
}

/** A request for an operation, whose caller was let in. */
export interface AwsRequest {
  readonly request: Request;
  /** Becomes the id of an invocation, if there is one. */
  readonly id: string;
  /** The function that the path names, percent-decoded. */
  readonly subject: string;
  readonly query: URLSearchParams;
  readonly guard: Guard<AwsNeed>;
}
