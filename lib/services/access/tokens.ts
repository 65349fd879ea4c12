/** 256 bits: it cannot be guessed, and a fast hash is enough to store it. */
const TOKEN_BYTES = 32;

const PREFIX = "slipway_";

/** Returns whether a text looks like a token of this server: nothing else is taken for one by mistake. */
export function looksLikeToken(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Returns the hash that a key is stored and compared by: SHA-256 in hex. */
export function hashToken(token: string): string {
  return new Bun.CryptoHasher("sha256").update(token).digest("hex");
}

/** Makes a new token, which only its owner ever sees. */
export function newToken(): string {
  return `${PREFIX}${crypto.getRandomValues(Buffer.alloc(TOKEN_BYTES)).toString("base64url")}`;
}
