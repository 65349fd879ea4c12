import type { ComponentChildren } from "preact";

/** A column of a table. */
export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Aligns numbers at their right. */
  readonly numeric?: boolean;
  /** Takes what is left of the width, and is cut there. */
  readonly wide?: boolean;
}

/** A table of records. On a narrow screen it is scrolled sideways, by itself, also with the keyboard. */
export function Table<Row>({
  label,
  columns,
  rows,
  keyOf,
}: {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string | number;
}) {
  const classOf = ({ numeric, wide }: Column<Row>) =>
    [numeric === true ? "number" : "", wide === true ? "wide" : ""].join(" ").trim();
  return (
    <div class="table" role="group" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.head} scope="col" class={classOf(column)}>
                {column.head === "" ? <span class="unseen">Actions</span> : column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) => (
                <td key={column.head} class={classOf(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The way to further pages of a list whose pages are known by cursors. `trail` has the cursors of the pages so far. */
export function Pager({
  trail,
  next,
  onTurn,
}: {
  readonly trail: readonly string[];
  readonly next: string | null | undefined;
  readonly onTurn: (trail: readonly string[]) => void;
}) {
  if (trail.length === 0 && (next === null || next === undefined)) return null;
  return (
    <nav class="pager" aria-label="Pages of the list">
      <button type="button" disabled={trail.length === 0} onClick={() => onTurn(trail.slice(0, -1))}>
        ← Previous
      </button>
      <span class="quiet">Page {trail.length + 1}</span>
      <button
        type="button"
        disabled={next === null || next === undefined}
        onClick={() => typeof next === "string" && onTurn([...trail, next])}
      >
        Next →
      </button>
    </nav>
  );
}
