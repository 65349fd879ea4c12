import { Link } from "wouter-preact";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { functionPath } from "../../data/functions.ts";
import { useFunctionNames } from "../../data/function-names.ts";
import { duration } from "../../format/numbers.ts";
import { Status } from "../../parts/status.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { Time } from "../../parts/time.tsx";

/** Records of calls, newest first. */
export function InvocationTable({
  label,
  invocations,
  withFunction = true,
  more = [],
}: {
  readonly label: string;
  readonly invocations: readonly Invocation[];
  readonly withFunction?: boolean;
  /** Further columns, at the end. */
  readonly more?: readonly Column<Invocation>[];
}) {
  const names = useFunctionNames(withFunction ? invocations.map(({ function_id }) => function_id) : []);
  const fn: Column<Invocation> = {
    head: "Function",
    cell: ({ function_id }) => (
      <Link href={functionPath(function_id)} title={function_id}>
        {names.get(function_id) ?? function_id.slice(0, 8)}
      </Link>
    ),
  };
  const columns: readonly Column<Invocation>[] = [
    { head: "Invocation", cell: ({ id }) => <InvocationLink id={id} /> },
    ...(withFunction ? [fn] : []),
    { head: "Status", cell: ({ status }) => <Status value={status} /> },
    { head: "Mode", cell: modeOf },
    { head: "Queue", numeric: true, cell: ({ queue_ms }) => duration(queue_ms) },
    { head: "Wait", numeric: true, cell: ({ start_ms }) => duration(start_ms) },
    { head: "Run", numeric: true, cell: ({ run_ms }) => duration(run_ms) },
    { head: "Created", numeric: true, cell: ({ created_at }) => <Time at={created_at} /> },
    {
      head: "Problem",
      wide: true,
      cell: ({ reason, message, status }) => (
        <span title={message ?? ""}>{reason === null || reason === status ? "" : reason.replaceAll("_", " ")}</span>
      ),
    },
    ...more,
  ];
  return <Table label={label} columns={columns} rows={invocations} keyOf={({ id }) => id} />;
}

/** A link to an invocation. The ends of ids differ most: they begin with the time. */
export function InvocationLink({ id }: { readonly id: string }) {
  return (
    <Link href={`/invocations/${encodeURIComponent(id)}`} title={id}>
      <code>…{id.slice(-12)}</code>
    </Link>
  );
}

/** Returns how it was called and begun, such as "async, cold" or "async, 3 attempts, warm". */
function modeOf({ mode, attempts, start }: Invocation): string {
  return [mode, attempts > 1 ? `${attempts} attempts` : "", start ?? ""].filter((part) => part !== "").join(", ");
}
