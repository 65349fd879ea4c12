import { parser } from "@prometheus-io/lezer-promql";

/** The names in an expression of Prometheus. */
export interface Named {
  /** Each metric, with the labels by which it is selected. */
  readonly metrics: readonly { readonly name: string; readonly labels: readonly string[] }[];
  /** The labels of `by`, `without`, `on` and the like. */
  readonly grouped: readonly string[];
}

/** Reads an expression with the grammar of Prometheus itself. Throws for one that is not well-formed. */
export function namedIn(expression: string): Named {
  const metrics: { name: string; labels: string[] }[] = [];
  const grouped: string[] = [];
  let isGrouping = false;
  parser.parse(expression).iterate({
    enter: ({ type, from, to }) => {
      const text = expression.slice(from, to);
      if (type.isError) throw new Error(`Not PromQL at "${expression.slice(from, from + 20)}": ${expression}`);
      if (type.name === "VectorSelector") metrics.push({ name: "", labels: [] });
      const last = metrics.at(-1);
      if (type.name === "Identifier" && last !== undefined && last.name === "") last.name = text;
      if (type.name === "GroupingLabels") isGrouping = true;
      if (type.name !== "LabelName") return;
      if (isGrouping) grouped.push(text);
      else last?.labels.push(text);
    },
    leave: ({ type }) => {
      if (type.name === "GroupingLabels") isGrouping = false;
    },
  });
  return { metrics, grouped };
}
