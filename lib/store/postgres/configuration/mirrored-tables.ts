/** A table of SQLite that is a copy of rows that all servers share. */
export interface MirroredTable {
  readonly name: string;
  /** The expression of a row's id, for which `ROW.` stands before each column. */
  readonly id: string;
  /** True if its rows have a place besides their columns, by which they are listed. */
  readonly hasPlace: boolean;
}

/** All tables of the configuration. In this order no row refers to one of a later table, but for routes and versions. */
export const MIRRORED: readonly MirroredTable[] = [
  { name: "settings", id: "ROW.key", hasPlace: false },
  { name: "functions", id: "ROW.id", hasPlace: true },
  { name: "versions", id: "ROW.function_id || ' ' || ROW.version", hasPlace: true },
  { name: "routes", id: "ROW.id", hasPlace: true },
  { name: "route_hosts", id: "ROW.host", hasPlace: false },
  { name: "secrets", id: "ROW.name", hasPlace: true },
  { name: "registries", id: "ROW.host", hasPlace: true },
  { name: "keys", id: "ROW.id", hasPlace: true },
  { name: "schedules", id: "ROW.id", hasPlace: true },
  { name: "pulled_images", id: "ROW.image_id", hasPlace: true },
  // Its number is its place.
  { name: "builds", id: "ROW.id", hasPlace: false },
];

/** The settings that are about one server and its engine: the mark of its containers, and the ids of images there. */
const OWN_SETTINGS: ReadonlySet<string> = new Set(["owner_id", "own_image_ids"]);

/** Returns whether a row is about one server and its engine: the images there, its builds, and some settings. */
export function isOwn(kind: string, id: string): boolean {
  return kind === "pulled_images" || kind === "builds" || (kind === "settings" && OWN_SETTINGS.has(id));
}

/** Returns the expression of the id of `row`: a table, `new` or `old`. */
export function idOf({ id }: MirroredTable, row: string): string {
  return id.replaceAll("ROW.", `${row}.`);
}
