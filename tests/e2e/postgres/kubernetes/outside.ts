import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { fixture } from "../../../support/images.ts";
import { startPostgres } from "../../../support/postgres/private-postgres.ts";
import { startRegistry } from "../../../support/registry/registry.ts";
import type { Network } from "./network.ts";

/** The services that a cluster uses and does not run itself. */
export interface Outside extends AsyncDisposable {
  /** The URL of an empty database. */
  readonly databaseUrl: string;
  /** A function in a registry, as engines of the cluster reach it. */
  readonly image: string;
}

/** Starts a PostgreSQL and a registry at the address of this machine in a cluster's network. */
export async function startOutside({ outside, prefix }: Network): Promise<Outside> {
  await using made = new AsyncDisposableStack();
  const postgres = made.use(await startPostgres([`listen_addresses=${outside}`]));
  await appendFile(join(postgres.directory, "data/pg_hba.conf"), `host all all ${prefix}.0.0/16 trust\n`);
  await postgres.run("select pg_reload_conf()");
  await postgres.run("create database slipway");
  const registry = made.use(await startRegistry());
  const pushed = await registry.push(await fixture("chaos"), "team/chaos:1");
  // The engine of the tests accepts plain HTTP on loopback only.
  const relay = Bun.serve({
    hostname: outside,
    port: 0,
    fetch: (request) => {
      const { pathname, search } = new URL(request.url);
      return fetch(`http://${registry.host}${pathname}${search}`, { method: request.method, headers: request.headers });
    },
  });
  made.defer(() => relay.stop(true));
  const all = made.move();
  return {
    databaseUrl: `postgres://slipway@${outside}/slipway`,
    image: pushed.reference.replace(registry.host, `${outside}:${relay.port}`),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
