import type { Function } from "../../domain/functions/functions.ts";
import { segment, withQuery } from "./api.ts";

/** A page of `GET /v1/functions`. */
export interface FunctionPage {
  readonly functions: readonly Function[];
  readonly next_cursor: string | null;
}

/** Returns the name by which people know a function: its name, or the beginning of its id. */
export function nameOf({ name, id }: Pick<Function, "name" | "id">): string {
  return name ?? id.slice(0, 8);
}

/** Returns the path of a function's page. */
export function functionPath(idOrName: string, tab = ""): string {
  return withQuery(`/functions/${segment(idOrName)}`, { tab });
}
