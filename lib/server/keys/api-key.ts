import { isLoopback } from "../../domain/addresses.ts";
import { type ServerKey, serverKey } from "../../services/access/server-key.ts";
import type { Store } from "../../store/store.ts";
import type { ServerTools } from "../capability.ts";
import { readApiKey } from "./key-files.ts";

/** A right key passes however many wrong ones came before, so one that the user chose should be longer than this. */
const GUESSABLE_LENGTH = 20;

/** The server's own key, and when callers need one. */
export interface ApiKey extends ServerKey {
  /** True if a request without a key is refused. */
  readonly required: boolean;
  /** True if the server listens on loopback only. */
  readonly loopback: boolean;
}

/**
 * Reads the server's own key. On loopback a key is required if one was given; on any other address it is always required,
 * unless AUTH=off. Throws a `ConfigError`.
 */
export async function openApiKey({ config, log }: ServerTools, { settings }: Pick<Store, "settings">): Promise<ApiKey> {
  const loopback = isLoopback(config.host);
  const given = await readApiKey(config);
  if (given !== null && given.length < GUESSABLE_LENGTH) {
    log.warn("the API key is short enough to be guessed: use one such as `openssl rand -base64 32` makes");
  }
  const required = config.auth === "on" || (config.auth === "auto" && (!loopback || given !== null));
  return { ...serverKey(settings, { given, needed: required }), required, loopback };
}
