/** The route that a path leads to. */
export interface RoutePath {
  /** The path of the route as it was given: `/files/*`. */
  readonly path: string;
  /** For a prefix route, the rest of the requested path, without a leading slash; null for others. */
  readonly path_rest: string | null;
}

/** A segment of the paths of prefix routes. */
interface Node {
  /** The prefix route that ends here. */
  path: string | undefined;
  readonly children: Map<string, Node>;
}

/**
 * Finds the route for a request's path: the one with the same path, else the longest prefix. `/a/*` is a prefix of `/a/`,
 * of everything below it and, as most people expect, of `/a`. A look-up takes one step for an exact path, and one for each
 * segment of the existing prefixes, however long the requested path is.
 */
export class RouteTable {
  readonly #exact = new Set<string>();
  readonly #root: Node = { path: undefined, children: new Map() };

  constructor(paths: Iterable<string> = []) {
    for (const path of paths) this.add(path);
  }

  /** Adds a path. Idempotent. */
  add(path: string): void {
    if (!isPrefix(path)) {
      this.#exact.add(path);
      return;
    }
    let node = this.#root;
    for (const segment of segmentsOf(path)) {
      const child = node.children.get(segment) ?? { path: undefined, children: new Map() };
      node.children.set(segment, child);
      node = child;
    }
    node.path = path;
  }

  delete(path: string): void {
    if (this.#exact.delete(path) || !isPrefix(path)) return;
    const way: { readonly parent: Node; readonly segment: string }[] = [];
    let node = this.#root;
    for (const segment of segmentsOf(path)) {
      const child = node.children.get(segment);
      if (child === undefined) return;
      way.push({ parent: node, segment });
      node = child;
    }
    node.path = undefined;
    // Also removes nodes that lead nowhere now.
    for (const { parent, segment } of way.toReversed()) {
      const child = parent.children.get(segment);
      if (child === undefined || child.path !== undefined || child.children.size > 0) return;
      parent.children.delete(segment);
    }
  }

  find(path: string): RoutePath | undefined {
    if (this.#exact.has(path)) return { path, path_rest: null };
    let found = restAfter(this.#root, path, 1);
    let node = this.#root;
    for (let start = 1; node.children.size > 0 && start <= path.length;) {
      const slash = path.indexOf("/", start);
      const end = slash === -1 ? path.length : slash;
      const child = node.children.get(path.slice(start, end));
      if (child === undefined) return found;
      start = end + 1;
      found = restAfter(child, path, start) ?? found;
      node = child;
    }
    return found;
  }
}

/** Returns whether a route's path is a prefix, which stands for everything below it. */
export function isPrefix(path: string): boolean {
  return path.startsWith("/") && path.endsWith("/*");
}

function restAfter(node: Node, path: string, start: number): RoutePath | undefined {
  return node.path === undefined ? undefined : { path: node.path, path_rest: path.slice(start) };
}

/** Returns the segments of a prefix route, without its `*`. */
function segmentsOf(path: string): string[] {
  return path === "/*" ? [] : path.slice(1, -2).split("/");
}
