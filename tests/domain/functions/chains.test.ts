import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type ChainLink, chainProblem } from "../../../lib/domain/functions/chains.ts";
import { CHAIN_DEPTH } from "../../../lib/domain/limits.ts";

function link(id: string, on_success: string | null = null, on_failure: string | null = null): ChainLink {
  return { id, name: `fn-${id}`, on_success, on_failure };
}

describe("chainProblem", () => {
  test.each<[what: string, all: ChainLink[], changed: ChainLink, shown: string]>([
    ["itself", [link("a")], link("a", "a"), '"on_success": it makes a cycle: "fn-a" -> "fn-a"'],
    ["itself on failure", [], link("a", null, "a"), '"on_failure": it makes a cycle: "fn-a" -> "fn-a"'],
    ["its caller", [link("b", "a")], link("a", "b"), '"fn-a" -> "fn-b" -> "fn-a"'],
    [
      "its caller, over both settings",
      [link("b", null, "c"), link("c", "a"), link("d", "a")],
      link("a", "x", "b"),
      '"on_failure": it makes a cycle: "fn-a" -> "fn-b" -> "fn-c" -> "fn-a"',
    ],
    [
      "one without a name",
      [{ ...link("b", "a"), name: null }],
      link("a", "b"),
      'it makes a cycle: "fn-a" -> "b" -> "fn-a"',
    ],
  ])("a function that leads to %s is refused, with the way", (_, all, changed, shown) => {
    expect(chainProblem(all, changed)).toContain(`${shown}. Name a function`);
  });

  test("two ways to the same function are not a cycle, and an older cycle elsewhere is ignored", () => {
    expect(chainProblem([link("b", "d"), link("c", "d"), link("d")], link("a", "b", "c"))).toBeUndefined();
    expect(chainProblem([link("a", "b"), link("b")], link("b", "c"))).toBeUndefined();
    expect(chainProblem([link("a", "b"), link("b", "a")], link("a"))).toBeUndefined();
  });

  test("a chain has the same limit wherever it is joined", () => {
    const row = (length: number) =>
      Array.from({ length }, (_, i) => link(String(i), i + 1 < length ? String(i + 1) : null));
    const all = row(CHAIN_DEPTH + 1);
    for (const one of all) expect(chainProblem(all, one)).toBeUndefined();
    const [first] = all;
    expect(chainProblem(all, link("before", first?.id))).toContain(`a chain of ${CHAIN_DEPTH + 1} invocations`);
    expect(chainProblem(all, link(String(CHAIN_DEPTH), null, "after"))).toContain(`at most ${CHAIN_DEPTH} are allowed`);
    const [left, right] = [row(9), row(9).map(({ id, ...rest }) => ({ ...rest, id: `x${id}`, on_success: next(id) }))];
    expect(chainProblem([...left, ...right], link("8", "x0"))).toContain(`a chain of 17 invocations`);
  });

  test("many ways take as little time as one", () => {
    const all = Array.from({ length: 16 }, (_, i) => link(String(i), String(i + 1), String(i + 1)));
    expect(chainProblem([...all, link("16")], link("0", "1", "1"))).toBeUndefined();
  });

  test("any sequence of allowed changes leaves no cycle and no long chain", () => {
    const ids = Array.from({ length: 8 }, (_, i) => String(i));
    const follower = fc.option(fc.constantFrom(...ids));
    const change = fc.tuple(fc.constantFrom(...ids), follower, follower);
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const links = new Map(ids.map((id) => [id, link(id)]));
        for (const [id, on_success, on_failure] of changes) {
          const changed = link(id, on_success, on_failure);
          const before = reaches(links, changed);
          const problem = chainProblem([...links.values()], changed);
          expect(problem?.includes("makes a cycle") ?? false).toBe(before);
          if (problem === undefined) links.set(id, changed);
        }
        for (const one of links.values()) expect(reaches(links, one)).toBe(false);
      }),
    );
  });
});

function next(id: string): string | null {
  return id === "8" ? null : `x${Number(id) + 1}`;
}

/** Returns whether a function leads back to itself, by walking every way. */
function reaches(links: ReadonlyMap<string, ChainLink>, start: ChainLink): boolean {
  const all = new Map(links).set(start.id, start);
  const seen = new Set<string>();
  const walk = (id: string | null): boolean => {
    if (id === null || seen.has(id)) return false;
    if (id === start.id) return true;
    seen.add(id);
    const here = all.get(id);
    return here !== undefined && (walk(here.on_success) || walk(here.on_failure));
  };
  return walk(start.on_success) || walk(start.on_failure);
}
