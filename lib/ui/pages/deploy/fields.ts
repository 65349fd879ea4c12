import {
  type FieldGroup,
  type SettingField,
  settingFields,
} from "../../macros/setting-fields.ts" with { type: "macro" };

/** The settings that most functions give. */
const FIRST: ReadonlySet<string> = new Set(["contract", "memory_bytes", "timeout_ms"]);

const groups: readonly FieldGroup[] = settingFields();
const all = groups.flatMap(({ fields }) => fields);

/** The settings at the top of a form. */
export const FIRST_FIELDS: readonly SettingField[] = all.filter(({ name }) => FIRST.has(name));

/** All other settings, by subject. */
export const MORE_FIELDS: readonly FieldGroup[] = groups.map(({ subject, fields }) => ({
  subject,
  fields: fields.filter(({ name }) => !FIRST.has(name)),
}));

/** The settings by their names. */
export const FIELDS: ReadonlyMap<string, SettingField> = new Map(all.map((field) => [field.name, field]));
