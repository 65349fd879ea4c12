/** Returns the name of a route in manifests, messages and the command line: its path, or the first of its hosts. */
export function routeName({
  path,
  hosts,
}: {
  readonly path: string | null;
  readonly hosts: readonly string[];
}): string {
  return path ?? hosts[0] ?? "";
}

/** Returns the URL of a route on the server with this URL: below its `/r`, or at the first of its hosts with its scheme and port. */
export function routeUrl(
  server: string,
  route: { readonly path: string | null; readonly hosts: readonly string[] },
): string {
  // A path may have spaces, which would end the URL for whoever copies it.
  if (route.path !== null) return `${server}/r${encodeURI(route.path)}`;
  const { protocol, port } = new URL(server);
  return `${protocol}//${routeName(route)}${port === "" ? "" : `:${port}`}/`;
}
