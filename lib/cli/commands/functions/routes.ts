import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { routeName, routeUrl } from "../../../domain/routes/route-name.ts";
import type { Route } from "../../../domain/routes/routes.ts";
import type { ApiClient } from "../../api/api-client.ts";
import { about, segment, unknownName } from "../../api/names.ts";
import { count, list } from "../../option-readers.ts";
import type { Define, Tools } from "../../tools.ts";

/** `slipway routes`: lists the routes; `create` and `rm`. */
export const define: Define = (command, tools) => {
  const { client, out } = tools;
  command.action(async () => {
    const server = client();
    const routes = await allRoutes(server);
    const rows = routes.map((route) => ({
      route: routeName(route),
      function: route.function.name ?? route.function.id,
      methods: route.methods.join(","),
      auth: route.auth,
      version: route.version ?? "current",
      url: routeUrl(server.url, route),
    }));
    out.list(routes, rows, "No routes yet: slipway routes create PATH FUNCTION makes one");
  });
  defineCreate(command, tools);
  command
    .command("rm")
    .description("Delete routes")
    .argument("<route...>", "Their paths, hosts or ids.")
    .action(async (names) => {
      const server = client();
      for (const name of names) {
        const { id } = await findRoute(server, name);
        const route = await server.data<Route>({ method: "DELETE", path: `/v1/routes/${segment("route", id)}` });
        out.done(route, `Deleted the route ${routeName(route)}`);
      }
    });
};

function defineCreate(command: CommandUnknownOpts, { client, out }: Tools): void {
  command
    .command("create")
    .description("Create a route to a function")
    .argument("<path>", "The path below /r, such as /hello, or /files/* for everything below it.")
    .argument("<function>", "The function's name or id.")
    .option("--methods <METHOD,...>", "The methods that call the function.", list)
    .option("--require-key", "Require an API key with the scope invoke.")
    .option("--pin <version>", "The version of the function that is called, in place of the current one.", count)
    .addOption(
      new Option("--event <form>", "The event of a function of the contract lambda: the request, or its body.").choices(
        ["http", "raw"] as const,
      ),
    )
    .action(async (path, name, { methods, requireKey, pin, event }) => {
      const server = client();
      const body = {
        path,
        function_id: name,
        methods: methods?.map((method) => method.toUpperCase()),
        auth: requireKey === true ? "key" : undefined,
        version: pin,
        event,
      };
      const route = await about(server, "function", name, () =>
        server.data<Route>({ method: "POST", path: "/v1/routes", body }),
      );
      out.done(route, `${routeUrl(server.url, route)} calls ${route.function.name ?? route.function.id}`);
    });
}

function allRoutes(server: ApiClient): Promise<Route[]> {
  return server.data<Route[]>({ method: "GET", path: "/v1/routes" });
}

/** Finds a route by its path, with or without `/r`, one of its hosts, or its id. */
async function findRoute(server: ApiClient, name: string): Promise<Route> {
  const routes = await allRoutes(server);
  const found =
    routes.find(({ id, path, hosts }) => id === name || path === name || hosts.includes(name)) ??
    routes.find(({ path }) => `/r${path}` === name);
  if (found === undefined) throw await unknownName(server, "route", name);
  return found;
}
