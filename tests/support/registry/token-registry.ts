/** A registry that gives tokens, in front of one that asks for nothing. */
export interface TokenRegistry extends AsyncDisposable {
  readonly host: string;
  /** The users that got tokens, with the repository: `anonymous team/app`. */
  readonly asked: readonly string[];
}

interface TokenUser {
  readonly user: string;
  readonly password: string;
}

/** The scope of a token for pulls. */
const SCOPE = /^repository:([^:]+):/;

/**
 * Starts a registry that wants a token for everything, as Docker Hub does. It gives everybody tokens for `team/*`, and those
 * for `private/*` only to one user.
 */
export function startTokenRegistry(upstream: string, { user, password }: TokenUser): TokenRegistry {
  const asked: string[] = [];
  const basic = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  const token = (url: URL, authorization: string | null): Response => {
    const repositories = url.searchParams
      .getAll("scope")
      .flatMap((scope) => scope.split(" "))
      .map((scope) => SCOPE.exec(scope)?.[1] ?? "");
    const isKnown = authorization === basic;
    asked.push(...repositories.map((one) => `${isKnown ? user : "anonymous"} ${one}`));
    const allowed = repositories.filter((one) => isKnown || one.startsWith("team/"));
    return Response.json({ token: Buffer.from(["for", ...allowed].join(" ")).toString("base64url"), expires_in: 300 });
  };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const url = new URL(request.url);
      const authorization = request.headers.get("authorization");
      if (url.pathname === "/token") return token(url, authorization);
      const repository = /^\/v2\/(.+?)\/(?:manifests|blobs)\//.exec(url.pathname)?.[1];
      const allowed = Buffer.from(authorization?.replace("Bearer ", "") ?? "", "base64url")
        .toString()
        .split(" ");
      if (repository === undefined ? authorization === null : !allowed.includes(repository)) {
        const scope = repository === undefined ? "" : `,scope="repository:${repository}:pull"`;
        const challenge = `Bearer realm="http://${url.host}/token",service="tokens"${scope}`;
        return new Response("{}", { status: 401, headers: { "www-authenticate": challenge } });
      }
      const headers = new Headers(request.headers);
      headers.delete("authorization");
      return fetch(`http://${upstream}${url.pathname}${url.search}`, { method: request.method, headers });
    },
  });
  const host = `127.0.0.1:${server.port}`;
  return { host, asked, [Symbol.asyncDispose]: () => server.stop(true) };
}
