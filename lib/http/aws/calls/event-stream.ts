/** The media type of messages one after the other, each with its length, headers and checksums. */
export const EVENT_STREAM = "application/vnd.amazon.eventstream";

/** The length of a message, that of its headers, and the checksum of both. */
const PRELUDE_BYTES = 12;
const CHECKSUM_BYTES = 4;
/** The type of a header whose value is text. */
const TEXT = 7;

/** Returns an event of a stream as a message: prelude, headers, payload and checksum, with numbers in network order. */
export function eventMessage(type: string, contentType: string, payload: Uint8Array): Buffer {
  const headers = headersOf({ ":message-type": "event", ":event-type": type, ":content-type": contentType });
  const message = Buffer.alloc(PRELUDE_BYTES + headers.length + payload.length + CHECKSUM_BYTES);
  message.writeUInt32BE(message.length, 0);
  message.writeUInt32BE(headers.length, 4);
  message.writeUInt32BE(Bun.hash.crc32(message.subarray(0, 8)), 8);
  message.set(headers, PRELUDE_BYTES);
  message.set(payload, PRELUDE_BYTES + headers.length);
  const end = message.length - CHECKSUM_BYTES;
  message.writeUInt32BE(Bun.hash.crc32(message.subarray(0, end)), end);
  return message;
}

function headersOf(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => {
      const [key, text] = [Buffer.from(name), Buffer.from(value)];
      return [Buffer.from([key.length]), key, Buffer.from([TEXT, text.length >> 8, text.length & 0xff]), text];
    }),
  );
}
