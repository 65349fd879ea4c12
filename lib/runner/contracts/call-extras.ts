import { encodeRequestMeta } from "../../domain/calls/http-message.ts";
import type { GateFile } from "../gate-protocol/frames.ts";
import type { InstanceCall } from "../instance/active-call.ts";
import type { Call } from "../call.ts";

/** What the gate hands to a function beside the body, and what of it is nobody else's business. */
export function callExtras(
  { id, function: fn, message, secrets }: Pick<Call, "id" | "function" | "message" | "secrets">,
  now: number,
): Pick<InstanceCall, "extras" | "secrets"> {
  const files: GateFile[] = [];
  if (message !== null) {
    const bytes = encodeRequestMeta(message, { request_id: id, function: fn, now });
    files.push({ place: "context", name: "request.meta.json", bytes });
  }
  for (const { name, value } of secrets.files) files.push({ place: "secrets", name, bytes: Buffer.from(value) });
  return {
    extras: { environment: secrets.environment, files },
    secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
  };
}
