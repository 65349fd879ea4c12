/** The parts of an Elysia route that are needed here. */
interface Registered {
  readonly method: string;
  readonly path: string;
}

/** Returns the methods that a path has, for the `Allow` of a 405; none if the path does not exist. */
export function allowedMethods(routes: readonly Registered[], path: string): readonly string[] {
  const methods = new Set<string>();
  for (const { method, path: pattern } of routes) {
    if (!matches(pattern, path)) continue;
    methods.add(method);
    if (method === "GET") methods.add("HEAD");
  }
  return [...methods].toSorted();
}

function matches(pattern: string, path: string): boolean {
  if (pattern.endsWith("/*")) return path.startsWith(pattern.slice(0, -1));
  const wanted = segments(pattern);
  const given = segments(path);
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment.startsWith(":") || segment === given[index])
  );
}

function segments(path: string): string[] {
  return path.replace(/\/$/, "").split("/");
}
