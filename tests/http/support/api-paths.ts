/** Paths of the API that its document does not have. */
const OTHERS = [
  "/swagger",
  "/swagger/json",
  "/swagger/full.json",
  "/swagger/swagger-ui.js",
  "/docs",
  "/docs/functions",
  "/docs/search.json",
];

/** Returns the paths of the whole API, from its document, with this id, name or host in them. */
export async function apiPaths(url: string, id: string): Promise<string[]> {
  const document = (await (await fetch(`${url}/swagger/json`)).json()) as { paths: object }; // OpenAPI
  return [...Object.keys(document.paths), ...OTHERS].map((path) => path.replace(/\{(?:id|name|host)\}/g, id));
}
