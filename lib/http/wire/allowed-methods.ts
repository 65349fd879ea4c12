/** The parts of an Elysia route that are needed here. */
interface Registered {
  readonly method: string;
  readonly path: string;
}

/** The longest path that one of our endpoints could have: names and ids are short. */
const LONGEST_PATH = 2_048;

/** Returns the methods that a path has, for the `Allow` of a 405; none if the path does not exist. */
export function allowedMethods(routes: readonly Registered[], path: string): readonly string[] {
  if (path.length > LONGEST_PATH) return [];
  const given = segments(path);
  const methods = new Set<string>();
  for (const { method, path: pattern } of routes) {
    if (!matches(pattern, path, given)) continue;
    methods.add(method);
    if (method === "GET") methods.add("HEAD");
  }
  return [...methods].toSorted();
}

function matches(pattern: string, path: string, given: readonly string[]): boolean {
  if (pattern.endsWith("/*")) return path.startsWith(pattern.slice(0, -1));
  const wanted = segments(pattern);
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment.startsWith(":") || segment === given[index])
  );
}

function segments(path: string): string[] {
  return path.replace(/\/$/, "").split("/");
}
