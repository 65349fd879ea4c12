import { chmodSync, chownSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { awayProblem, openProblem, withRemedy } from "../../../lib/store/postgres/errors.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { eventually } from "../../support/pace.ts";
import { startPostgres } from "../../support/postgres/private-postgres.ts";
import { type Database, newDatabase } from "../../support/postgres/test-databases.ts";
import { newWork } from "../contract/records.ts";
import { listeningLog, rejectionOf, scratchDirectory, someInvocation } from "../sqlite/support/stores.ts";

const nameOf = ({ url }: Database) => new URL(url).pathname.slice(1);
const setReadOnly = (database: Database, value: "on" | "off") =>
  database.run(
    `begin read write; alter database ${nameOf(database)} set default_transaction_read_only = ${value}; commit`,
  );
const options = { log: listeningLog().log, clock: systemClock, server_id: "s1" };

async function openingAs(user: string, { url }: Database, parameters = ""): Promise<string> {
  const error = await rejectionOf(openPostgresStore(url.replace("slipway@", `${user}@`) + parameters, options));
  return error instanceof Error ? error.message : "";
}

test("a connection to a database that can only be read is given up, and the statement made on another one", async () => {
  const database = await newDatabase();
  await database.run("create table t (a integer)");
  await setReadOnly(database, "on");
  await using client = new Client(database.url);
  const insert = "insert into t values (1)";
  await Promise.all(Array.from({ length: 5 }, () => client.all("select 1")));
  // As if another server had become the primary: connections from before stay as they are.
  await setReadOnly(database, "off");
  expect(await client.run(insert)).toBe(1);
  expect(await client.transaction((transaction) => transaction.run(insert))).toBe(1);
});

test("while the database can only be read, submissions and records say that it is away, and so does the check", async () => {
  const database = await newDatabase();
  await using store = await openPostgresStore(database.url, options);
  await setReadOnly(database, "on");
  await database.run(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  const away = {
    reason: "database_unavailable",
    message: "The database can only be read: try again later",
    retry_after_s: 2,
  };
  // The first ones may still meet connections that were cut.
  let refusal: unknown;
  await eventually(async () => {
    refusal = await rejectionOf(store.ledger.submit(newWork("x")));
    return refusal instanceof Error && refusal.message === away.message;
  });
  expect(refusal).toMatchObject(away);
  expect(await rejectionOf(store.history.save([{ invocation: someInvocation("y") }]))).toMatchObject(away);
  expect(await rejectionOf(store.check())).toMatchObject({
    message: expect.stringContaining("can only be read: it is a standby"),
  });
});

test("a user without connections, logins or rights: the database is away to a server that runs, and the start says what to do", async () => {
  const database = await newDatabase();
  const user = `u${nameOf(database)}`;
  await database.run(`create role ${user} login connection limit 1; revoke create on schema public from public`);
  expect(await openingAs(user, database)).toEndWith(
    "permission denied for schema public): let its user own the database",
  );
  const url = database.url.replace("slipway@", `${user}@`);
  const refusal = async () => {
    await using second = new Client(url);
    return await rejectionOf(second.all("select 1"));
  };
  {
    await using first = new Client(url);
    await first.all("select 1");
    const full = await refusal();
    expect(full).toMatchObject({ reason: "database_unavailable" });
    expect(withRemedy(full)).toMatchObject({ message: "The database cannot be used: let it have more connections" });
    expect(openProblem(full)).toMatch(/too many connections for role .*: let it have more connections$/);
  }
  await database.run(`alter role ${user} nologin`);
  const refused = await refusal();
  expect(refused).toMatchObject({ reason: "database_unavailable" });
  expect(withRemedy(refused)).toMatchObject({ message: "The database cannot be used: check its user and password" });
  expect(awayProblem(refused)).toMatch(/not permitted to log in: check its user and password$/);
  expect(openProblem(refused)).toMatch(/not permitted to log in\): check its user and password$/);
});

test("the parameters of a URL are those of its sessions, and an unknown one is refused: a mistyped sslmode is not left out", async () => {
  const database = await newDatabase();
  await using client = new Client(`${database.url}&application_name=mine`);
  const names = "select current_setting('application_name') as name, current_setting('statement_timeout') as most";
  expect(await client.all(names)).toEqual([{ name: "mine", most: "9s" }]);
  expect(await openingAs("slipway", database, "&sslmod=verify-full")).toMatch(
    /"sslmod"\): check the parameters of its URL$/,
  );
});

test("sslmode=verify-full: only a server with a certificate for its name, of an authority that is trusted, is used", async () => {
  using directory = scratchDirectory();
  // Addresses of its own: others may use PostgreSQL's port on 127.0.0.1.
  const [address, other] = [1, 2].map(
    (last) => `127.${[0, 0].map(() => 1 + Math.floor(Math.random() * 250)).join(".")}.${last}`,
  );
  await makeCertificate(directory.path, "authority");
  await makeCertificate(directory.path, "server", { by: "authority", address });
  chmodSync(directory.path, 0o755);
  const key = directory.file("server.key");
  // Its user reads it by its group.
  if (process.getuid?.() === 0) chownSync(key, 0, 65_534);
  chmodSync(key, process.getuid?.() === 0 ? 0o640 : 0o600);
  const files = [`ssl_cert_file=${directory.file("server.pem")}`, `ssl_key_file=${key}`];
  await using _postgres = await startPostgres(["ssl=on", `listen_addresses=${address},${other}`, ...files]);
  const ask = async (host: string | undefined, parameters = "") => {
    await using client = new Client(`postgres://slipway@${host}/postgres?sslmode=verify-full${parameters}`);
    const asked = "select case when ssl then 1 else 0 end as ssl from pg_stat_ssl where pid = pg_backend_pid()";
    return await client.all(asked).catch(openProblem);
  };
  const trusted = `&sslrootcert=${directory.file("authority.pem")}`;
  const hint = /: check that PostgreSQL has "ssl = on", and that its certificate is for this name/;
  expect(await ask(address, trusted)).toEqual([{ ssl: 1 }]);
  expect(await ask(address)).toMatch(hint);
  expect(await ask(other, trusted)).toMatch(hint);
});

test("a standby that may lack acknowledged work is said at the start and by the check, also to a user without rights, and one that is synchronous is not", async () => {
  await using postgres = await startPostgres();
  await postgres.run("create role plain login");
  await postgres.run("create database slipway owner plain");
  const url = postgres.url("slipway").replace("slipway@", "plain@");
  const { log, events } = listeningLog();
  await using store = await openPostgresStore(url, { ...options, log });
  expect(await store.check()).toBeUndefined();
  using directory = scratchDirectory();
  // Like a standby it reads everything that is written.
  await using receiver = Bun.spawn(
    [join(postgres.programs, "pg_receivewal"), "-D", directory.path, "-d", `${postgres.url("")}&application_name=copy`],
    { stdout: "ignore", stderr: "ignore" },
  );
  const lags = /no synchronous standby: a failover may lose .* Name one in synchronous_standby_names/;
  expect(await eventually(async () => lags.test((await store.check()) ?? ""))).toBe(true);
  await using second = await openPostgresStore(url, { ...options, server_id: "s2", log });
  expect(events).toContainEqual(expect.objectContaining({ level: "warn", problem: expect.stringMatching(lags) }));
  await postgres.run("alter system set synchronous_standby_names = 'copy'");
  await postgres.run("select pg_reload_conf()");
  expect(await eventually(async () => (await second.check()) === undefined)).toBe(true);
  receiver.kill();
  await receiver.exited;
});
