import { useState } from "preact/hooks";
import type { Function } from "../../../domain/functions/functions.ts";
import type { FunctionVersion, VersionPage } from "../../../domain/functions/versions.ts";
import { ask, segment, withQuery } from "../../data/api.ts";
import { useRights } from "../../data/session.ts";
import { useAction } from "../../data/use-action.ts";
import { useData } from "../../data/use-data.ts";
import { Confirm } from "../../parts/confirm.tsx";
import { Done, Loading, Problem } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { Status } from "../../parts/status.tsx";
import { Pager } from "../../parts/table.tsx";
import { Time } from "../../parts/time.tsx";
import { differences } from "./differences.ts";
import { Setting } from "./setting.tsx";

const PAGE_SIZE = 20;

/** The versions of a function, newest first: what changed with each, and the way back. */
export function Versions({ fn, onChange }: { readonly fn: Function; readonly onChange: () => void }) {
  const [trail, setTrail] = useState<readonly string[]>([]);
  const { deploy } = useRights();
  const action = useAction();
  const base = `/v1/functions/${segment(fn.id)}`;
  // The number of the current version makes it another list.
  const path = withQuery(`${base}/versions`, { limit: PAGE_SIZE + 1, cursor: trail.at(-1) });
  const { data, error, reload } = useData<VersionPage>(path);
  const rollBack = (version: number) =>
    action.run(async () => {
      const now = await ask<Function>(`${base}/rollback`, { method: "POST", body: { version } });
      reload();
      onChange();
      return `The function is as it was at version ${version}; that is version ${now.version} now.`;
    });
  if (data === undefined) return error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />;
  // One more than is shown: the last one is compared with it.
  const shown = data.versions.slice(0, PAGE_SIZE);
  const next = data.versions.length > PAGE_SIZE ? String(shown.at(-1)?.version ?? "") : null;
  return (
    <Section title="Versions">
      <Done>{action.done}</Done>
      <Problem error={action.error ?? error} />
      <ol class="versions">
        {shown.map((version, index) => (
          <li key={version.version}>
            <div class="head">
              <h3>
                Version {version.version} {version.current ? <Status value="current" tone="good" /> : null}
              </h3>
              <span class="quiet">
                <Time at={version.created_at} />
              </span>
              {deploy && !version.current ? (
                <Confirm
                  label={`Roll back to ${version.version}`}
                  disabled={action.busy}
                  question={`Give the function the image, environment and settings of version ${version.version} again? That makes a new version; running calls are not affected.`}
                  onYes={() => rollBack(version.version)}
                />
              ) : null}
            </div>
            <Changes version={version} before={data.versions[index + 1]} />
          </li>
        ))}
      </ol>
      <Pager trail={trail} next={next} onTurn={setTrail} />
    </Section>
  );
}

function Changes({
  version,
  before,
}: {
  readonly version: FunctionVersion;
  readonly before: FunctionVersion | undefined;
}) {
  if (before === undefined) {
    return (
      <p class="quiet">
        The oldest version that is kept: <code>{version.image}</code>
      </p>
    );
  }
  const changes = differences(before, version);
  if (changes.length === 0) return <p class="quiet">Nothing that a call would notice.</p>;
  return (
    <dl class="changes">
      {changes.map(({ name, from, to }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <del>
              <Setting name={name} value={from} />
            </del>
            <span aria-hidden="true"> → </span>
            <ins>
              <Setting name={name} value={to} />
            </ins>
          </dd>
        </div>
      ))}
    </dl>
  );
}
