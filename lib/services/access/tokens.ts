/** 256 bits: it cannot be guessed, and a fast hash is enough to store it. */
const TOKEN_BYTES = 32;

/** Returns the hash that a key is stored and compared by: SHA-256 in hex. */
export function hashToken(token: string): string {
  return new Bun.CryptoHasher("sha256").update(token).digest("hex");
}

/** Makes a new token, which only its owner ever sees. */
export function newToken(): string {
  return `slipway_${crypto.getRandomValues(Buffer.alloc(TOKEN_BYTES)).toString("base64url")}`;
}
