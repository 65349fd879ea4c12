import { join } from "node:path";
import { STATUSES } from "../../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { BUSY, idOf } from "./large-database.ts";

const UI = join(import.meta.dir, "../../../../lib/ui");
const HOUR = 3_600_000;
/** Streams, which end when the page is left, and what only changes are sent to. */
const NOT_ASKED = /\/(events|logs|invoke|replay|login|logout)$|^\/v1\/functions$|^\/v1\/(keys|schedules)\/./;

/** Returns the paths that the source of the dashboard's pages names, with a function or a call in the place of what it fills in. */
async function pathsInSource(): Promise<string[]> {
  const files = await Array.fromAsync(new Bun.Glob("**/*.{ts,tsx}").scan(UI));
  const texts = await Promise.all(files.map((file) => Bun.file(join(UI, file)).text()));
  // The first argument of `withQuery` is not asked for as it is.
  const named = texts.flatMap((text) => [
    ...text.matchAll(/(?<!withQuery\()["`](\/(?:v1\/|ui\/session|readyz|metrics)[^"`]*)["`]/g),
  ]);
  const paths = named.map(([, path = ""]) => {
    const id = path.startsWith("/v1/functions/") ? BUSY : idOf(99);
    return path.replace(/\$\{[^}]*\}/g, id);
  });
  return [...new Set(paths)].filter((path) => !NOT_ASKED.test(path)).toSorted();
}

/** Returns every request for data that the dashboard's pages make, with all filters and ranges that a reader can choose. */
export async function dashboardRequests(): Promise<string[]> {
  const ago = (hours: number) => timestamp(Date.now() - hours * HOUR);
  const ofBusy = ["", "&function_id=f0", "&function_id=f7"];
  const lists = ofBusy.flatMap((by) =>
    ["", ...STATUSES.map((status) => `&status=${status}`)].flatMap((with_status) =>
      ["", `&since=${ago(24)}`, `&since=${ago(168)}&until=${ago(24)}`].map(
        (within) => `/v1/invocations?limit=50${by}${with_status}${within}`,
      ),
    ),
  );
  const followers = [`/v1/invocations?limit=50&parent_id=${idOf(0)}`];
  const figures = ofBusy.flatMap((by) => [1, 24, 168].map((hours) => `/v1/stats?since=${ago(hours)}${by}`));
  const functions = ["", "&search=fn-99", "&search=nothing"].map((search) => `/v1/functions?limit=50${search}`);
  const others = [`/v1/functions/${BUSY}/versions?limit=11`, "/v1/audit?limit=50", "/v1/routes?limit=50"];
  return [...(await pathsInSource()), ...lists, ...followers, ...figures, ...functions, ...others];
}
