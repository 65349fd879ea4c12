import { calmLog } from "../calm-log.ts";
import { type AccessPolicy, createAccessCheck, createKeyCheck } from "../http/access/access.ts";
import { createClientAddress, createClientUsesTls } from "../http/access/client-address.ts";
import { defaultGateways } from "../http/access/gateways.ts";
import { KeyGuesses } from "../http/access/key-guesses.ts";
import { AuditService } from "../services/access/audit.ts";
import { EndedSessions } from "../services/access/ended-sessions.ts";
import { Freshness } from "../services/cluster/freshness.ts";
import { KeyService } from "../services/access/keys.ts";
import { SessionService } from "../services/access/sessions.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Data } from "./data.ts";

const DAY_MS = 86_400_000;
/** Creates the rules for access to the API. */
export function createAccess(
  { config, log, clock, stack }: Tools,
  { store, api_key, vault }: Data,
  { functions, serverCount }: Pick<Catalogue, "functions"> & { readonly serverCount: () => number },
) {
  const { hash, loopback, required } = api_key;
  const keys = stack.use(new KeyService({ store: store.keys, functions, clock, log, server_hash: hash }));
  const clientAddress = createClientAddress(config.trustedProxies);
  const max_age_ms = config.auditDays * DAY_MS;
  const audit = stack.use(new AuditService({ store: store.audit, clock, log: calmLog(log, clock), max_age_ms }));
  const freshness = new Freshness(store.catchUp);
  const ended = new EndedSessions(store.settings);
  const sessions = new SessionService({ keys, clock, ended, secret: vault.keyFor("sessions") });
  const clientUsesTls = createClientUsesTls(config.trustedProxies);
  const policy: AccessPolicy = {
    keys,
    sessions,
    clientUsesTls,
    guesses: new KeyGuesses(clock, serverCount),
    catchUp: freshness.isShared ? () => freshness.forUnknown() : null,
    key_required: required,
    loopback,
    allowed_hosts: config.allowedHosts,
    clientAddress,
    audit,
    gateways: config.trustGateway === "on" ? defaultGateways(() => clock.monotonic()) : () => [],
  };
  return {
    services: {
      access: createAccessCheck(policy),
      checkKey: createKeyCheck(policy),
      freshness,
      keys,
      sessions,
      clientAddress,
      clientUsesTls,
      audit,
    },
    start: () => audit.start(),
  } satisfies Capability;
}
