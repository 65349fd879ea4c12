import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { fixture } from "../../../support/images.ts";
import type { TestServer } from "../../../support/server.ts";

const MIB = 1024 * 1024;

/** The answer to a call, and the id of its invocation. */
export interface Answer {
  readonly response: Response;
  readonly status: number;
  readonly text: string;
  readonly id: string;
  readonly json: () => Record<string, unknown>;
}

/** Registers `chaos` twice: as it is, and `tight`, with little time and memory, for calls that use all they get. */
export async function chaosFunctions(server: TestServer): Promise<Record<"chaos" | "tight", Function>> {
  const chaos = await server.createFunction(await fixture("chaos"));
  const tight = await server.createFunction(await fixture("chaos"), { timeout_ms: 1_500, memory_bytes: 64 * MIB });
  return { chaos, tight };
}

/** Calls a function and takes its whole answer. */
export async function answerOf(
  server: TestServer,
  fn: Pick<Function, "id">,
  request: object | string,
): Promise<Answer> {
  const response = await server.invoke(fn, request);
  const text = await response.text();
  const id = response.headers.get("x-request-id") ?? "";
  return { response, status: response.status, text, id, json: () => JSON.parse(text) as Record<string, unknown> }; // each test says which fields it expects
}
