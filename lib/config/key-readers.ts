import { parseSecretKey, SECRET_KEY_FORM } from "../domain/parse-secret-key.ts";
import { refuse, type Reader, ValueError } from "./readers.ts";

/** An API key: characters that a header can hold. */
export const apiKey: Reader<string> = (value) => {
  if (!/^[\x21-\x7e]{1,1024}$/.test(value)) throw new ValueError("1 to 1024 printable ASCII characters without spaces");
  return value;
};

/** The key that encrypts secrets. */
export const secretKey: Reader<Uint8Array> = (value) => parseSecretKey(value) ?? refuse(SECRET_KEY_FORM);
