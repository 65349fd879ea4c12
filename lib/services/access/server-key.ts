import type { SettingStore } from "../../store/configuration.ts";
import { hashToken, newToken } from "./tokens.ts";

/** The hash that the server's own key is compared by, and the key itself if it was just made: it is shown once. */
export interface ServerKey {
  readonly hash: string | undefined;
  readonly made: string | undefined;
}

/** Returns this server's key: the given one, else the one made at an earlier start, else, if needed, a new one. */
export function serverKey(
  settings: Pick<SettingStore, "apiKeyHash">,
  options: { readonly given: string | null; readonly needed: boolean },
): ServerKey {
  if (options.given !== null) return { hash: hashToken(options.given), made: undefined };
  const stored = settings.apiKeyHash();
  if (stored !== null) return { hash: stored, made: undefined };
  if (!options.needed) return { hash: undefined, made: undefined };
  const made = newToken();
  return { hash: hashToken(made), made };
}

/** Keeps a key that was just made for later starts. Not before it can be shown: the next start would know it, and nobody else. */
export async function keepServerKey(
  settings: Pick<SettingStore, "setApiKeyHash">,
  { hash, made }: ServerKey,
): Promise<void> {
  if (made !== undefined && hash !== undefined) await settings.setApiKeyHash(hash);
}
