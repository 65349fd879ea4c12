import { useEffect, useState } from "preact/hooks";
import type { Function } from "../../domain/functions/functions.ts";
import { ask, segment } from "./api.ts";

/** The names of functions that were asked for, by their ids: null for one that is gone or has none. */
const known = new Map<string, string | null>();
const asked = new Set<string>();

/** Returns the names of functions, by their ids, as far as they are known. The others are asked for, each once. */
export function useFunctionNames(ids: readonly string[]): ReadonlyMap<string, string> {
  const [, setCount] = useState(0);
  const missing = [...new Set(ids)].filter((id) => !known.has(id)).toSorted();
  const key = missing.join();
  useEffect(() => {
    let isSeen = true;
    const fresh = key.split(",").filter((id) => id !== "" && !asked.has(id));
    for (const id of fresh) asked.add(id);
    void Promise.all(fresh.map(find)).then(() => isSeen && setCount((n) => n + 1));
    return () => {
      isSeen = false;
    };
  }, [key]);
  const named = ids.flatMap((id) => {
    const name = known.get(id);
    return typeof name === "string" ? [[id, name] as const] : [];
  });
  return new Map(named);
}

async function find(id: string): Promise<void> {
  const found = await ask<Function>(`/v1/functions/${segment(id)}`).catch(() => undefined);
  known.set(id, found?.name ?? null);
}
