import type { SettingStore } from "../store/settings.ts";

/** 256 bits: nobody guesses it, and a fast hash is enough to store it. */
const KEY_BYTES = 32;

/** The hash that a key is compared by, and the key itself where it was just made and must be shown once. */
export interface ApiKey {
  readonly hash: string | undefined;
  readonly made: string | undefined;
}

/** How a key is stored and compared: SHA-256 in hex. */
export function hashKey(key: string): string {
  return new Bun.CryptoHasher("sha256").update(key).digest("hex");
}

/** The key of this server: the one it was given, else the one made at an earlier start, else, where one is needed, a new one. */
export function apiKey(
  settings: SettingStore,
  options: { readonly given: string | null; readonly needed: boolean },
): ApiKey {
  if (options.given !== null) return { hash: hashKey(options.given), made: undefined };
  const stored = settings.apiKeyHash();
  if (stored !== null) return { hash: stored, made: undefined };
  if (!options.needed) return { hash: undefined, made: undefined };
  const made = `slipway_${crypto.getRandomValues(Buffer.alloc(KEY_BYTES)).toString("base64url")}`;
  settings.setApiKeyHash(hashKey(made));
  return { hash: hashKey(made), made };
}
