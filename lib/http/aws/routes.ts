import { Elysia } from "elysia";
import { SCOPES } from "../../domain/keys.ts";
import { AppError } from "../../domain/errors.ts";
import type { ErrorForm } from "../wire/errors.ts";
import { pathOf } from "../wire/errors.ts";
import { percentDecoded } from "../wire/raw-paths.ts";
import type { Guard } from "../access/guard.ts";
import { AbandonedCalls } from "./wire/abandoned.ts";
import { AwsError, awsError } from "./wire/errors.ts";
import { invoke, invokeAsync } from "./calls/invoke.ts";
import { type AskedOperation, findOperation, PREFIXES, type Served, SERVED } from "./wire/operations.ts";
import { getFunction, getFunctionConfiguration, listFunctions, listVersions } from "./functions/reads.ts";
import { invokeWithResponseStream } from "./calls/stream.ts";
import type { AwsNeed, AwsRequest, AwsServices, AwsTools } from "./wire/tools.ts";
import {
  createFunction,
  deleteFunction,
  publishVersion,
  updateFunctionCode,
  updateFunctionConfiguration,
} from "./functions/writes.ts";

/** An operation: what it needs, and what makes its answer. */
interface Endpoint {
  readonly need: AwsNeed;
  readonly status: number;
  /** Returns the answer, or the body of one with that status; nothing for one without a body. */
  readonly answer: (tools: AwsTools, asked: AwsRequest) => Promise<Response | object | void>;
}

const ENDPOINTS = {
  Invoke: { need: "invoke", status: 200, answer: invoke },
  InvokeAsync: { need: "invoke", status: 202, answer: invokeAsync },
  InvokeWithResponseStream: { need: "invoke", status: 200, answer: invokeWithResponseStream },
  ListFunctions: { need: "read", status: 200, answer: listFunctions },
  GetFunction: { need: "read", status: 200, answer: getFunction },
  GetFunctionConfiguration: { need: "read", status: 200, answer: getFunctionConfiguration },
  ListVersionsByFunction: { need: "read", status: 200, answer: listVersions },
  CreateFunction: { need: "write", status: 201, answer: createFunction },
  UpdateFunctionCode: { need: "write", status: 200, answer: updateFunctionCode },
  UpdateFunctionConfiguration: { need: "write", status: 200, answer: updateFunctionConfiguration },
  DeleteFunction: { need: "write", status: 204, answer: deleteFunction },
  PublishVersion: { need: "write", status: 201, answer: publishVersion },
} as const satisfies Record<Served, Endpoint>;

/** Paths of AWS's API, all of which begin with the date of a version. */
const AWS_PATH = new RegExp(`^/(?:${PREFIXES.join("|")})(?:/|$)`);

/** Errors as clients of AWS's API read them. */
export const AWS_ERRORS: ErrorForm = { isFor: (path) => AWS_PATH.test(path), response: awsError };

/** The document describes them under their tag: their schemas are AWS's. */
const HIDDEN: { hide: boolean } = Object.assign({ hide: true }, { "x-scopes": SCOPES });

/** The API of AWS Lambda, for AWS's own clients: calls of functions of every contract, and images as functions. */
export function awsRoutes(guard: Guard<AwsNeed>, services: AwsServices) {
  const tools = { ...services, abandoned: new AbandonedCalls(services.clock) };
  const answer = async (request: Request, headers: Record<string, string | number>): Promise<Response> => {
    const path = pathOf(request.url);
    const found = findOperation(request.method, path);
    const endpoint = endpointOf(found);
    await guard.admit(request, endpoint?.need ?? "other");
    if (found === undefined || endpoint === undefined) throw notServed(request.method, path, found);
    const start = request.url.indexOf("?");
    const asked: AwsRequest = {
      request,
      id: tools.requestId({ headers }),
      subject: percentDecoded(found.subject),
      query: new URLSearchParams(start === -1 ? "" : request.url.slice(start)),
      guard,
    };
    return answered(endpoint, tools, asked);
  };
  const app = new Elysia();
  for (const prefix of PREFIXES) {
    app.all(`/${prefix}/*`, ({ request, set }) => answer(request, set.headers), {
      parse: "none",
      detail: HIDDEN,
    });
  }
  return app;
}

async function answered(endpoint: Endpoint, tools: AwsTools, asked: AwsRequest): Promise<Response> {
  const { guard, request, id } = asked;
  const isChange = endpoint.need === "write";
  try {
    const made = await endpoint.answer(tools, asked);
    const response = made instanceof Response ? made : jsonAnswer(made, endpoint.status, id);
    if (isChange) guard.changed(request, response.status);
    return response;
  } catch (error) {
    if (isChange) guard.changed(request, error instanceof AppError ? awsError(error, { request_id: id }).status : 500);
    throw error;
  }
}

function jsonAnswer(body: object | void, status: number, id: string): Response {
  const headers = { "x-amzn-RequestId": id };
  return body === undefined ? new Response(null, { status, headers }) : Response.json(body, { status, headers });
}

function endpointOf(found: AskedOperation | undefined): Endpoint | undefined {
  const served = SERVED.find((name) => name === found?.operation);
  return served === undefined ? undefined : ENDPOINTS[served];
}

function notServed(method: string, path: string, found: AskedOperation | undefined): AppError {
  if (found === undefined) {
    return new AwsError("ResourceNotFoundException", `AWS's API has no ${method} ${path.slice(0, 80)}`, "not_found");
  }
  return new AwsError(
    "NotImplementedException",
    `This server does not have the operation ${found.operation}: it has ${SERVED.join(", ")}`,
  );
}
