import type { ComponentChildren } from "preact";
import { writeQuantity } from "../../format/quantities.ts";
import type { SettingField } from "../../macros/setting-fields.ts";

/** A field of a form, and what is said about it. */
export interface Control {
  readonly value: string;
  readonly problem: string | undefined;
  readonly onInput: (text: string) => void;
}

/** The part of its field that a control knows: its id, and its error. */
type Attributes = Readonly<Record<"id" | "name" | "value" | "aria-describedby", string>> & {
  readonly "aria-invalid"?: true;
  readonly onInput: (event: { readonly currentTarget: { readonly value: string } }) => void;
};

/** A label, a control and a note; a problem is read out with the control. */
export function Labelled({
  name,
  label = name,
  note,
  control: { value, problem, onInput },
  children,
}: {
  readonly name: string;
  readonly label?: string;
  readonly note?: ComponentChildren;
  readonly control: Control;
  readonly children: (attributes: Attributes) => ComponentChildren;
}) {
  const id = `field-${name}`;
  const attributes = {
    id,
    name,
    value,
    "aria-describedby": `${id}-problem ${id}-note`,
    ...(problem !== undefined && { "aria-invalid": true as const }),
    onInput: (event: { readonly currentTarget: { readonly value: string } }) => onInput(event.currentTarget.value),
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(attributes)}
      {problem === undefined ? null : (
        <p id={`${id}-problem`} class="problem">
          {problem}
        </p>
      )}
      {note === undefined ? null : (
        <p id={`${id}-note`} class="note">
          {note}
        </p>
      )}
    </div>
  );
}

/** The field of a setting. */
export function SettingControl({
  field,
  isNew,
  control,
}: {
  readonly field: SettingField;
  readonly isNew: boolean;
  readonly control: Control;
}) {
  const { name, kind, description } = field;
  const usual = usualInWords(field);
  return (
    <Labelled name={name} note={description} control={control}>
      {(attributes) => {
        if (kind === "choice" || kind === "flag") {
          return (
            <select {...attributes}>
              {isNew ? <option value="">{`usual: ${usual}`}</option> : null}
              {!isNew && field.isNullable ? <option value="">none</option> : null}
              {(kind === "flag" ? ["true", "false"] : field.choices).map((one) => (
                <option key={one} value={one}>
                  {kind === "flag" ? (one === "true" ? "yes" : "no") : one}
                </option>
              ))}
            </select>
          );
        }
        return <input {...attributes} autocomplete="off" spellcheck={false} placeholder={usual} />;
      }}
    </Labelled>
  );
}

function usualInWords({ name, kind, usual }: SettingField): string {
  if (usual === null) return "none";
  if (kind === "flag") return usual === true ? "yes" : "no";
  if (typeof usual === "number") return writeQuantity(name, usual);
  return typeof usual === "string" ? usual : JSON.stringify(usual);
}
