import type { Invocation } from "../../../domain/calls/invocations.ts";
import { JSON_TYPE } from "../../../domain/calls/http-message.ts";
import { quoted } from "../../../domain/quoted.ts";
import type { Answer } from "../../../services/calls/call.ts";
import { AwsError } from "../wire/errors.ts";
import { EVENT_STREAM, eventMessage } from "./event-stream.ts";
import { type Failure, failureOf, payloadOf } from "./failures.ts";
import { countUntilOut } from "../../calls/invoke.ts";
import { type AwsCall, answerHeaders, getsLogTail, sentCall, tailFor, withCall } from "./invoke.ts";
import type { AwsRequest, AwsTools } from "../wire/tools.ts";

const ANY_BYTES = "application/octet-stream";

/** `InvokeWithResponseStream`: each piece of the answer is an event as soon as it comes, and the last one says how the call ended. */
export async function invokeWithResponseStream(tools: AwsTools, asked: AwsRequest): Promise<Response> {
  const { request } = asked;
  const type = request.headers.get("x-amz-invocation-type") ?? "RequestResponse";
  if (type !== "RequestResponse" && type !== "DryRun") {
    throw new AwsError(
      "InvalidParameterValueException",
      `Invalid InvocationType ${quoted(type, 40)}: give RequestResponse or DryRun`,
    );
  }
  return withCall(tools, asked, "ResponseStream", async (call) => {
    if (type === "DryRun") return new Response(null, { status: 204, headers: answerHeaders(asked.id) });
    const made = await tools.idempotentCalls.stream(sentCall(asked, call), call.idempotency);
    if ("queued" in made) throw new Error("A call of this operation is never queued");
    call.called(made.answer);
    return respond(tools, asked, call, made);
  });
}

interface Made {
  readonly answer: Answer;
  /** The record, once it is final. */
  readonly ended: Promise<Invocation>;
}

function respond(tools: AwsTools, { request }: AwsRequest, call: AwsCall, { answer, ended }: Made): Response {
  const { invocation, response } = answer;
  const failure = failureOf(answer, call.function.timeout_ms);
  const type = response?.headers.find(([name]) => name === "content-type")?.[1] ?? ANY_BYTES;
  const headers = {
    ...answerHeaders(invocation.id, call.version),
    "Content-Type": EVENT_STREAM,
    "X-Amzn-Remapped-Content-Type": type,
  };
  const end = async (late: Failure | undefined): Promise<Buffer> => {
    const last = failure ?? late;
    const LogResult = getsLogTail(request, call) ? await tailFor(tools, invocation, request.signal) : undefined;
    const told = { ErrorCode: last?.errorType, ErrorDetails: last?.errorMessage, LogResult };
    return eventMessage("InvokeComplete", JSON_TYPE, Buffer.from(JSON.stringify(told)));
  };
  const verdict = async (): Promise<Failure | undefined> => {
    const last = await ended;
    if (last.status === "succeeded") return undefined;
    return failureOf({ invocation: last, response: null }, call.function.timeout_ms);
  };
  const { slowReaders, invocations, server } = tools;
  slowReaders.follow({
    request,
    server: server(),
    onUndelivered: (why) => invocations.undelivered(invocation.id, why),
  });
  const body = response?.body;
  if (!(body instanceof ReadableStream)) {
    const whole = failure === undefined ? (body ?? new Uint8Array()) : payloadOf(failure);
    countUntilOut(tools, request, whole.length);
    return new Response(
      events(new Blob([Buffer.from(whole)]).stream(), () => end(undefined)),
      { headers },
    );
  }
  return new Response(
    events(body, async () => end(await verdict())),
    { headers },
  );
}

/** Returns the pieces of a body as events, and then the last event. A body that is cut ends with that, too. */
function events(body: ReadableStream<Uint8Array>, last: () => Promise<Buffer>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const piece = await reader.read().catch(() => ({ done: true as const, value: undefined }));
        if (!piece.done) return controller.enqueue(eventMessage("PayloadChunk", ANY_BYTES, piece.value));
        controller.enqueue(await last());
        controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
