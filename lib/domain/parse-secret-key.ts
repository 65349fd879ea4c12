/** The length of the key that encrypts secrets, in bytes, as AES-256 needs it. */
export const SECRET_KEY_BYTES = 32;

/** Describes a key, in messages that ask for one. */
export const SECRET_KEY_FORM = "32 random bytes in base64 or hex, such as `openssl rand -base64 32` prints";

/** Reads a key from its text; undefined for any other text. A phrase is refused: it could be guessed. */
export function parseSecretKey(text: string): Uint8Array | undefined {
  const trimmed = text.trim();
  if (/^[0-9a-f]{64}$/i.test(trimmed)) return Buffer.from(trimmed, "hex");
  // 43 characters and padding, in either of base64's two alphabets.
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed) ? Buffer.from(trimmed, "base64") : undefined;
}
