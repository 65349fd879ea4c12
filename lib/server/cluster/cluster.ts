import { COLLECTED_BYTES } from "../../domain/limits.ts";
import type { Platform } from "../../runner/platform.ts";
import type { Runner } from "../../runner/runner.ts";
import { HopCheck } from "../../services/cluster/hop-signature.ts";
import { Hops } from "../../services/cluster/hops.ts";
import { LostServers } from "../../services/cluster/lost-servers.ts";
import { Members } from "../../services/cluster/members.ts";
import { Peers } from "../../services/cluster/peers.ts";
import { ReceivedHops } from "../../services/cluster/received-hops.ts";
import { SharedOutput } from "../../services/cluster/shared-output.ts";
import type { LeftRecordStore } from "../../store/cluster/left-records.ts";
import type { History } from "../../store/history.ts";
import type { MemberStore } from "../../store/members.ts";
import { VERSION as version } from "../../version.ts";
import type { Calls } from "../calls.ts";
import type { Capability, Tools } from "../capability.ts";
import type { Catalogue } from "../catalogue.ts";
import type { Data } from "../data.ts";

interface ClusterLinks extends Pick<Catalogue, "functions"> {
  readonly platform: Pick<Platform, "identity">;
  readonly runner: Runner;
  /** Returns the services for calls, which are made with what is made here. */
  readonly calls: () => Pick<Calls, "invocations" | "events">;
}

/** The parts of the data that servers share, and do something with for each other. */
interface SharedData extends Pick<Data, "vault"> {
  readonly store: MemberStore;
  readonly history: History;
  readonly left: LeftRecordStore;
}

/** Composes what a server does for and with the others of its database. */
export function createCluster(
  { config, log, clock, stack, tracing }: Tools,
  { vault, store, history, left }: SharedData,
  { platform, runner, functions, calls }: ClusterLinks,
) {
  const readyCalls = () => runner.readyCalls;
  const engine = () => platform.identity;
  const members = stack.use(new Members({ store, url: config.advertiseUrl, version, readyCalls, engine, clock, log }));
  const key = vault.keyFor("calls passed on to other servers");
  const peers = new Peers({ members, version, key, clock });
  const whole_bytes = Math.max(config.maxResponseBytes, COLLECTED_BYTES);
  const hops = new Hops({ runner, peers, key, version, whole_bytes, clock, log });
  const check = new HopCheck(key, members, clock);
  const invoke: Calls["invocations"]["invoke"] = (call) => calls().invocations.invoke(call);
  const recorded: Calls["invocations"]["recorded"] = (id) => calls().invocations.recorded(id);
  const invocations = { invoke, recorded };
  const receivedHops = new ReceivedHops({ check, members, functions, invocations, runner, version, clock });
  const sharedOutput = new SharedOutput({ check, events: () => calls().events, history });
  const lostServers = stack.use(new LostServers({ store: left, history, functions, clock, log, tracing }));
  return {
    services: { members, hops, receivedHops, sharedOutput, others: { members, key } },
    // Before the first request: it counts against a share of its limits.
    prepare: () => members.begin(),
    start: () => lostServers.start(),
    leave: () => members.takeNoCalls(),
    drain: () => members.leave(),
  } satisfies Capability;
}
