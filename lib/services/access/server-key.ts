import type { SettingStore } from "../../store/sqlite/tables/settings.ts";
import { hashToken, newToken } from "./keys.ts";

/** The hash that the server's own key is compared by, and the key itself where it was just made and must be shown once. */
export interface ServerKey {
  readonly hash: string | undefined;
  readonly made: string | undefined;
}

/** The key of this server: the one it was given, else the one made at an earlier start, else, where one is needed, a new one. */
export function serverKey(
  settings: SettingStore,
  options: { readonly given: string | null; readonly needed: boolean },
): ServerKey {
  if (options.given !== null) return { hash: hashToken(options.given), made: undefined };
  const stored = settings.apiKeyHash();
  if (stored !== null) return { hash: stored, made: undefined };
  if (!options.needed) return { hash: undefined, made: undefined };
  const made = newToken();
  settings.setApiKeyHash(hashToken(made));
  return { hash: hashToken(made), made };
}
