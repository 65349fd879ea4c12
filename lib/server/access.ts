import { createAccessCheck, isLoopback } from "../http/access/access.ts";
import { createClientAddress, createClientUsesTls } from "../http/access/client-address.ts";
import { defaultGateways } from "../http/access/gateways.ts";
import { KeyGuesses } from "../http/access/key-guesses.ts";
import { AuditService } from "../services/access/audit.ts";
import { KeyService } from "../services/access/keys.ts";
import { serverKey } from "../services/access/server-key.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Data } from "./data.ts";
import { readApiKey } from "./key-files.ts";

const DAY_MS = 86_400_000;
/** A right key passes however many wrong ones came before, so one that the user chose should be longer than this. */
const GUESSABLE_LENGTH = 20;

/**
 * Creates the rules for access to the API. On loopback a key is required if one was given; on any other address it is
 * always required, unless AUTH=off. `new_key` is the API key if it was made now. Throws a `ConfigError`.
 */
export async function createAccess(
  { config, log, clock, stack }: Tools,
  { store }: Data,
  { functions }: Pick<Catalogue, "functions">,
) {
  const loopback = isLoopback(config.host);
  const given = await readApiKey(config);
  if (given !== null && given.length < GUESSABLE_LENGTH) {
    log.warn("the API key is short enough to be guessed: use one such as `openssl rand -base64 32` makes");
  }
  const key_required = config.auth === "on" || (config.auth === "auto" && (!loopback || given !== null));
  const { hash, made } = await serverKey(store.settings, { given, needed: key_required });
  const keys = stack.use(new KeyService({ store: store.keys, functions, clock, log, server_hash: hash }));
  const clientAddress = createClientAddress(config.trustedProxies);
  const max_age_ms = config.auditDays * DAY_MS;
  const audit = stack.use(new AuditService({ store: store.audit, clock, log, max_age_ms }));
  const access = createAccessCheck({
    keys,
    guesses: new KeyGuesses(clock),
    key_required,
    loopback,
    allowed_hosts: config.allowedHosts,
    clientAddress,
    audit,
    gateways: config.trustGateway === "on" ? defaultGateways(() => clock.monotonic()) : () => [],
  });
  return {
    services: { access, keys, clientAddress, clientUsesTls: createClientUsesTls(config.trustedProxies), audit },
    new_key: made,
    start: () => audit.start(),
  } satisfies Capability & {
    new_key: string | undefined;
  };
}
