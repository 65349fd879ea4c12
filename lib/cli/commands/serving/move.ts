import { ConfigError } from "../../../config/config.ts";
import { EXIT } from "../../exit-codes.ts";
import type { Define } from "../../tools.ts";

/** The time between two notes of how far a large table is, in milliseconds. */
const NOTE_MS = 2_000;

/** `slipway move`: takes everything along into a PostgreSQL database. */
export const define: Define = (command, { tasks, config, out, isSet, exitWith }) => {
  command
    .description(
      "Move everything of a stopped server from the database in its data directory to an empty PostgreSQL database: functions, routes, " +
        "keys, secrets, schedules, the queue and all records. All of it moves, or nothing; after that no server starts on the old one.",
    )
    .option("--to <URL>", "The PostgreSQL database, by default that of DATABASE_URL or DATABASE_URL_FILE.")
    .option("--to-file <FILE>", "File with its URL, so that the password is not in the list of processes.")
    .option("--undo", "Let servers start on the old database again, which has what it had when it moved.")
    .action(async ({ to, toFile, undo }) => {
      if (to !== undefined && toFile !== undefined)
        throw new ConfigError("Both --to and --to-file are given: leave one out");
      if (undo === true) {
        if (to !== undefined || toFile !== undefined) throw new ConfigError("--undo takes no URL: leave out --to");
        const from = await tasks.undoMove(config());
        const gone = "it has what it had when it moved, and nothing that came to the other one since";
        return out.note(
          from === null
            ? "slipway: the database has not moved: nothing to undo"
            : `slipway: servers start on the database again, which had moved to ${from}: ${gone}`,
        );
      }
      const isRehearsal = isSet("dry-run");
      let last = Date.now();
      const moved = await tasks.move(config(), {
        to: to ?? null,
        to_file: toFile ?? null,
        dry_run: isRehearsal,
        progress: ({ table, moved: rows, of }) => {
          if (Date.now() - last < NOTE_MS) return;
          last = Date.now();
          out.note(`slipway: ${table}: ${rows} of ${of}`);
        },
      });
      const { rows, place, server_id, key_file } = moved;
      if (rows !== null) out.record(moved, Object.fromEntries(Object.entries(rows).filter(([, count]) => count > 0)));
      else if (out.json) out.value(moved);
      if (isRehearsal) {
        out.note(`slipway: nothing has moved: this was a dry run to ${place}`);
        return exitWith(EXIT.would_change);
      }
      const key =
        key_file === null
          ? "with the SECRET_KEY that was given here"
          : `with SECRET_KEY_FILE=${key_file} (or a copy of that file, the same for all servers)`;
      out.note(
        `slipway: everything is in ${place} now. Start the server with its URL as DATABASE_URL, with SERVER_ID=${server_id}, and ${key}`,
      );
    });
};
