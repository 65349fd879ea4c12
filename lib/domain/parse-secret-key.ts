/** The length of the key that secrets are encrypted with: AES-256 takes 32 bytes. */
export const SECRET_KEY_BYTES = 32;

/** What a key looks like, for messages that ask for one. */
export const SECRET_KEY_FORM = "32 random bytes in base64 or hex, such as `openssl rand -base64 32` prints";

/** Reads a key from its text; nothing where it is none. A phrase is none: what can be guessed protects nothing. */
export function parseSecretKey(text: string): Uint8Array | undefined {
  const trimmed = text.trim();
  if (/^[0-9a-f]{64}$/i.test(trimmed)) return Buffer.from(trimmed, "hex");
  // 43 characters and their padding, in either of the two alphabets.
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed) ? Buffer.from(trimmed, "base64") : undefined;
}
