import type { Runner } from "../../runner/runner.ts";
import { Members } from "../../services/cluster/members.ts";
import { VERSION } from "../../version.ts";
import type { Capability, Tools } from "../capability.ts";
import type { MemberStore } from "../../store/members.ts";

interface ClusterLinks {
  readonly runner: Runner;
}

/** Composes what a server does for and with the others of its database. */
export function createCluster({ config, log, clock, stack }: Tools, store: MemberStore, { runner }: ClusterLinks) {
  const members = stack.use(
    new Members({ store, url: config.advertiseUrl, version: VERSION, places: () => runner.places, clock, log }),
  );
  return {
    services: { members },
    // Before the first request: it counts against a share of its limits.
    prepare: () => members.begin(),
    drain: () => members.leave(),
  } satisfies Capability;
}
