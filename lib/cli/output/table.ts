import Table from "cli-table3";

/** No lines: columns are told apart by two spaces, as in the tables of Docker's and Kubernetes' commands. */
const WITHOUT_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
} as const;

/** Returns the lines of a table. Cells must be printable; they may have colours. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const table = new Table({
    chars: WITHOUT_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
  });
  table.push(...rows.map((cells) => [...cells]));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd());
}
