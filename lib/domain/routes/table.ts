/** What a path leads to. */
export interface RoutePath {
  /** The path of the route, as it was given: `/files/*`. */
  readonly path: string;
  /** What a prefix route leaves of the path that was asked for, without a slash in front; null for any other. */
  readonly path_rest: string | null;
}

/** A segment of the paths of prefix routes. */
interface Node {
  /** The prefix route that ends here. */
  path: string | undefined;
  readonly children: Map<string, Node>;
}

/**
 * The paths of routes, and which of them a request's path leads to: the one that equals it, else the longest prefix.
 * `/a/*` is a prefix of `/a/`, of all that is below it, and of `/a` itself, as most people expect. A look takes one step
 * for an exact path, and one for each segment of the prefixes that are there, however long the path that is asked for.
 */
export class RouteTable {
  readonly #exact = new Set<string>();
  readonly #root: Node = { path: undefined, children: new Map() };

  constructor(paths: Iterable<string> = []) {
    for (const path of paths) this.add(path);
  }

  /** Once is as good as twice. */
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
    // What leads nowhere any more goes, too.
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

/** Whether a route's path stands for all that is below it. */
export function isPrefix(path: string): boolean {
  return path.startsWith("/") && path.endsWith("/*");
}

function restAfter(node: Node, path: string, start: number): RoutePath | undefined {
  return node.path === undefined ? undefined : { path: node.path, path_rest: path.slice(start) };
}

/** Those of a prefix route, without its `*`. */
function segmentsOf(path: string): string[] {
  return path === "/*" ? [] : path.slice(1, -2).split("/");
}
