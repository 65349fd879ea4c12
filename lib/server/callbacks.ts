import { calmLog } from "../calm-log.ts";
import { CallbackService } from "../services/callbacks/callbacks.ts";
import { CallbackSender } from "../services/callbacks/sender.ts";
import { CallbackSecrets } from "../services/callbacks/signing-secrets.ts";
import { VERSION } from "../version.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";

/** Composes what sends results to the callback URLs of asynchronous calls. */
export function createCallbacks({ config, log, clock, tracing, stack }: Tools, { store, vault }: Data) {
  const callbackSecrets = new CallbackSecrets({ settings: store.settings, vault, clock });
  const sender = new CallbackSender({
    allowed: config.callbackAllow,
    clock,
    user_agent: `slipway/${VERSION}`,
    timeout_ms: config.callbackTimeoutMs,
  });
  const callbacks = stack.use(
    new CallbackService({
      store,
      secrets: callbackSecrets,
      sender,
      retry_for_ms: config.callbackRetryFor,
      tracing,
      clock,
      log: calmLog(log, clock),
    }),
  );
  return {
    services: { callbacks, callbackSecrets },
    start: () => callbacks.start(),
    leave: () => callbacks.leave(),
  } satisfies Capability;
}
