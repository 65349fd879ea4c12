import type { ReceivedSpan } from "./collector.ts";

/** Returns the spans of a trace with what is below each: `name(name name)`, in the order of their starts, callbacks last. */
export function treeOf(spans: readonly ReceivedSpan[], parent: string): string {
  const below = spans
    .filter((span) => span.parent === parent)
    .toSorted((a, b) => Number(a.name === "callback") - Number(b.name === "callback") || Number(a.start - b.start));
  return below
    .map((span) => {
      const inner = treeOf(spans, span.id);
      return inner === "" ? span.name : `${span.name}(${inner})`;
    })
    .join(" ");
}

/** Returns the names of the spans that are not within the time of their parents, except those that come after them. */
export function outside(spans: readonly ReceivedSpan[]): string[] {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const isInside = ({ name, parent, start, end }: ReceivedSpan) => {
    const around = byId.get(parent);
    if (around === undefined || name === "callback" || around.kind === 5) return start <= end;
    return around.start <= start && start <= end && end <= around.end;
  };
  return spans.filter((span) => !isInside(span)).map(({ name }) => name);
}
