import type { ChangedFunction, Function } from "../../../domain/functions/functions.ts";
import type { SettingField } from "../../macros/setting-fields.ts";
import { Problem } from "../../parts/notices.tsx";
import { type Control, Labelled, SettingControl } from "./field.tsx";
import { FIRST_FIELDS, MORE_FIELDS } from "./fields.ts";
import { Progress } from "./progress.tsx";
import { useDeployment } from "./use-deployment.ts";

const SUBJECTS = {
  process: "Process",
  contract: "Contract",
  http: "Functions that are servers",
  resources: "Resources",
  surroundings: "Surroundings",
  instances: "Instances",
  asynchronous: "Asynchronous calls and records",
} as const;

/** A form for a new function, or for a new version of one. `onSaved` gets what the server made of it. */
export function FunctionForm({
  fn,
  onSaved,
}: {
  readonly fn?: Function;
  readonly onSaved: (saved: ChangedFunction) => void;
}) {
  const { form, busy, progress, error, control, submit } = useDeployment(fn, onSaved);
  const isNew = fn === undefined;
  const settings = (fields: readonly SettingField[]) =>
    fields.map((field) => (
      <SettingControl key={field.name} field={field} isNew={isNew} control={control(field.name)} />
    ));
  return (
    <form class="card" ref={form} noValidate onSubmit={submit}>
      <div class="fields">
        <ImageAndName control={control} />
        {settings(FIRST_FIELDS)}
      </div>
      <Variables control={control("environment")} />
      <details class="more">
        <summary>More settings</summary>
        {MORE_FIELDS.map(({ subject, fields }) => (
          <fieldset key={subject}>
            <legend>{SUBJECTS[subject]}</legend>
            <div class="fields">{settings(fields)}</div>
          </fieldset>
        ))}
      </details>
      <Problem error={error} />
      {busy ? <Progress progress={progress} /> : null}
      <div class="actions">
        <button type="submit" class="primary" disabled={busy || control("image").value.trim() === ""}>
          {busy ? "Deploying…" : isNew ? "Deploy" : "Deploy a new version"}
        </button>
      </div>
    </form>
  );
}

function ImageAndName({ control }: { readonly control: (name: string) => Control }) {
  return (
    <>
      <Labelled name="image" note="With its registry and tag, as for docker pull." control={control("image")}>
        {(attributes) => (
          <input
            {...attributes}
            required
            autocomplete="off"
            spellcheck={false}
            placeholder="registry.example.com/team/app:1"
          />
        )}
      </Labelled>
      <Labelled
        name="name"
        note="Lower-case letters, digits and “-”; it can replace the id everywhere."
        control={control("name")}
      >
        {(attributes) => <input {...attributes} autocomplete="off" spellcheck={false} placeholder="none" />}
      </Labelled>
    </>
  );
}

function Variables({ control }: { readonly control: Control }) {
  return (
    <Labelled
      name="environment"
      note="Variables, one a line as NAME=value. For passwords there are secrets, among the other settings."
      control={control}
    >
      {(attributes) => <textarea {...attributes} rows={4} spellcheck={false} />}
    </Labelled>
  );
}
