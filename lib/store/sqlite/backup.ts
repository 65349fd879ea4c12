import { Database as Sqlite } from "bun:sqlite";
import { existsSync, rmSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { codeOf, messageOf } from "../../domain/errors.ts";
import { giveName, makePrivateFile, syncFile } from "../../private-files.ts";
import { StoreError } from "../errors.ts";
import { isFull, mapOpenError } from "./errors.ts";

/**
 * Copies the database at `path` to a new `file`, consistent as of one moment, even while a server writes to it: it only
 * reads, and needs no ownership. Refuses an existing file. Throws a `StoreError`.
 */
export function backup(path: string, file: string): void {
  if (!existsSync(path)) {
    throw new StoreError(
      `There is no database ${JSON.stringify(path)}: name the directory of the server's data with --data-path`,
    );
  }
  const sqlite = openExisting(path);
  try {
    copyInto(sqlite, file);
  } finally {
    sqlite.close();
  }
}

function openExisting(path: string): Sqlite {
  try {
    if (statSync(path).size === 0)
      throw new StoreError(`The database ${JSON.stringify(path)} is empty: there is nothing to copy`);
    // Not read-only: reading a write-ahead log needs its index, which a reader may have to create.
    const sqlite = new Sqlite(path, { readwrite: true, create: false });
    sqlite.run("pragma busy_timeout = 5000");
    sqlite.query("select count(*) from sqlite_schema").get();
    return sqlite;
  } catch (error) {
    throw mapOpenError(error, path);
  }
}

/**
 * Writes a copy of an open database to a new file: complete under its name, or not at all. Never overwrites an existing
 * file. Throws a `StoreError`.
 */
export function copyInto(sqlite: Sqlite, file: string): void {
  const target = resolve(file);
  const shown = JSON.stringify(file);
  const taken = () => new StoreError(`The file ${shown} exists already: choose another name, or remove it first`);
  if (existsSync(target)) throw taken();
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    rmSync(temporary, { force: true });
    makePrivateFile(temporary);
    sqlite.query("vacuum into ?").run(temporary);
    syncFile(temporary);
    giveName(temporary, target);
    syncFile(target);
  } catch (error) {
    rmSync(temporary, { force: true });
    if (codeOf(error) === "EEXIST") throw taken();
    const why = isFull(error) ? "its disk is full: make room there, or choose another place" : messageOf(error);
    throw new StoreError(`Cannot write the copy ${shown}: ${why}`, { cause: error });
  }
}
