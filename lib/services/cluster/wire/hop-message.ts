import type { BufferedRequest, FunctionRequest } from "../../../domain/calls/http-message.ts";

/** A call as one server passes it on to another, without its body. */
export interface HopCall {
  /** The version of Slipway that wrote it: only the same one reads it. */
  readonly slipway: string;
  readonly id: string;
  readonly function_id: string;
  readonly version: number;
  /** The last change of the function that the sender knows. */
  readonly updated_at: string;
  readonly route_id: string | null;
  readonly key_id: string | null;
  readonly collect: boolean;
  /** True if the record is read as soon as the call has ended. */
  readonly reads_record: boolean;
  readonly request: Omit<FunctionRequest, "body">;
}

const LENGTH_BYTES = 4;

/** Returns the message of a call. */
export function encodeCall(call: HopCall, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = Buffer.from(JSON.stringify(call));
  const message = new Uint8Array(LENGTH_BYTES + head.length + body.length);
  new DataView(message.buffer).setUint32(0, head.length);
  message.set(head, LENGTH_BYTES);
  message.set(body, LENGTH_BYTES + head.length);
  return message;
}

/** Returns the call of a message, whose signature says that `encodeCall` has made it. */
export function decodeCall(message: Uint8Array): { readonly call: HopCall; readonly body: BufferedRequest["body"] } {
  const length = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0);
  const start = LENGTH_BYTES + length;
  const call = JSON.parse(Buffer.from(message.subarray(LENGTH_BYTES, start)).toString()) as HopCall; // see above
  // A copy: what is kept of it must not keep the whole message.
  return { call, body: message.slice(start) };
}
