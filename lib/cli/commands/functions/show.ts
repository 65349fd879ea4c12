import type { FunctionWithPool, PoolState } from "../../../domain/functions/functions.ts";
import type { Route } from "../../../domain/routes/routes.ts";
import { about, segment } from "../../api/names.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** `slipway show`: a function with its settings, routes and instances. */
export const define: Define = (command, { client, out }) => {
  command.argument("<function>", "Its name or id.").action(async (name) => {
    const server = client();
    const path = `/v1/functions/${segment("function", name)}`;
    const fn = await about(server, "function", name, () => server.data<FunctionWithPool>({ method: "GET", path }));
    const routes = await server.data<Route[]>({ method: "GET", path: "/v1/routes" });
    const own = routes.filter((route) => route.function.id === fn.id);
    const { pool, version_pools, environment, created_at, updated_at, ...settings } = fn;
    const shown = Object.entries(settings).map(([key, value]) => [key, valueText(value)] as const);
    out.record(fn, {
      ...Object.fromEntries(shown),
      // Their values may be secrets; `--json` has them.
      environment: Object.keys(environment).join(", "),
      routes: own.map((route) => `/r${route.path}`).join(", "),
      instances: poolText(pool),
      problem: pool.problem,
      ...Object.fromEntries(
        version_pools.map((one) => [`instances of version ${one.version}`, poolText(one)] as const),
      ),
      created: relativeTime(created_at),
      changed: relativeTime(updated_at),
    });
  });
};

function valueText(value: unknown): string | null {
  if (value === null || (Array.isArray(value) && value.length === 0)) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function poolText({ ready, starting, busy, target }: PoolState): string {
  return `${ready} ready, ${starting} starting, ${busy} busy (target: ${target} ready)`;
}
