import { Link } from "wouter-preact";
import type { FunctionWithPool } from "../../../domain/functions/functions.ts";
import { functionPath } from "../../data/functions.ts";
import { useRights } from "../../data/session.ts";
import { Facts } from "../../parts/facts.tsx";
import { Section } from "../../parts/page.tsx";
import { Setting } from "./setting.tsx";

/** Fields that are shown elsewhere on the page, or are no settings. */
const ELSEWHERE: ReadonlySet<string> = new Set(["pool", "version_pools", "environment", "created_at", "updated_at"]);

/** All settings of a function as they are. */
export function Settings({ fn }: { readonly fn: FunctionWithPool }) {
  const facts = Object.entries(fn)
    .filter(([name]) => !ELSEWHERE.has(name))
    .map(([name, value]) => [name, <Setting key={name} name={name} value={value} />, isLong(value)] as const)
    // Long ones have lines of their own, below the others.
    .toSorted(([, , a], [, , b]) => Number(a) - Number(b));
  const { deploy } = useRights();
  const variables = Object.entries(fn.environment);
  return (
    <>
      <Section title="Settings">
        <p class="quiet">
          <a href="/docs/settings">The manual</a> says what each means. Change them{" "}
          {deploy ? <Link href={functionPath(fn.name ?? fn.id, "change")}>with a form</Link> : "with a form"},{" "}
          <code>slipway</code>, PATCH /v1/functions/{fn.name ?? fn.id}, or a manifest.
        </p>
        <Facts facts={facts} />
      </Section>
      <Section title="Environment">
        {variables.length === 0 ? (
          <p class="quiet">It has no variables of its own.</p>
        ) : (
          <Facts facts={variables.map(([name, value]) => [name, <code key={name}>{value}</code>, isLong(value)])} />
        )}
      </Section>
    </>
  );
}

/** The characters that fit into a column. */
const COLUMN = 24;

function isLong(value: unknown): boolean {
  return (typeof value === "string" ? value : (JSON.stringify(value) ?? "")).length > COLUMN;
}
