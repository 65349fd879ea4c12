import { mapInSlices } from "../../domain/concurrency.ts";
import { about } from "../../domain/manifest/about.ts";
import type { ManifestWrites } from "../configuration.ts";
import type { Step } from "./database/long-transaction.ts";
import type { Tables } from "./tables.ts";

/**
 * Returns the steps of the transaction that writes a manifest. Their rows are made here, in slices. That every record is as
 * it was read follows from the basis of the write.
 *
 * New functions come first, since routes lead to them; changed ones after the routes, which may keep an old version that
 * would be removed otherwise; and deleted ones last, when no route leads to them.
 */
export async function manifestSteps(
  tables: Pick<Tables, "functions" | "routes">,
  { functions, routes }: ManifestWrites,
): Promise<readonly Step[]> {
  const [created, changed, deleted]: [Step[], Step[], Step[]] = [[], [], []];
  await mapInSlices(functions, ({ name, before, after }) => {
    const named = (step: Step) => () => about("Function", name, step);
    if (after !== undefined && before !== undefined) changed.push(named(tables.functions.replacing(before, after)));
    else if (after !== undefined) created.push(named(tables.functions.inserting(after)));
    else if (before !== undefined) deleted.push(() => tables.functions.deleteNow(before.id));
  });
  // A host may go from one route to another, whichever of them is written first.
  const left = routes.flatMap(({ before }): Step[] =>
    before !== undefined && before.hosts.length > 0 ? [() => tables.routes.leaveHostsNow(before)] : [],
  );
  const routed = await mapInSlices(routes, ({ name, before, after }): Step => {
    if (after === undefined) return () => before && tables.routes.deleteNow(before.id);
    const step = before === undefined ? tables.routes.inserting(after) : tables.routes.replacing(after);
    return () => about("Route", name, step);
  });
  return [...created, ...left, ...routed, ...changed, ...deleted];
}
