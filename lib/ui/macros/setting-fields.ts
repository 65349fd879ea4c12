import { SETTING_DEFAULTS, SETTING_GROUPS } from "../../domain/functions/settings.ts";

/** The kind of control for a setting: `json` stands for lists and objects, which are written as such. */
export type FieldKind = "text" | "integer" | "number" | "flag" | "choice" | "json";

/** A setting as a form needs it. */
export interface SettingField {
  readonly name: string;
  readonly kind: FieldKind;
  readonly isNullable: boolean;
  readonly description: string;
  /** The values of a choice. */
  readonly choices: readonly string[];
  /** The value if neither a request nor the image gives one. */
  readonly usual: unknown;
  readonly example: unknown;
}

/** Settings about one subject. */
export interface FieldGroup {
  readonly subject: keyof typeof SETTING_GROUPS;
  readonly fields: readonly SettingField[];
}

/** The parts of a schema that are looked at. */
interface Schema {
  readonly type?: string;
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
  readonly description?: string;
  readonly examples?: readonly unknown[];
}

/**
 * Returns the settings of a function from their schemas. It is a macro: it runs when the dashboard is bundled, which then has its
 * result, and neither the schemas nor their library.
 */
export function settingFields(): readonly FieldGroup[] {
  return Object.entries(SETTING_GROUPS).map(([subject, schemas]) => ({
    subject: subject as FieldGroup["subject"], // a key of what is iterated
    fields: Object.entries<Schema>(schemas).map(([name, schema]) => fieldOf(name, schema)),
  }));
}

function fieldOf(name: string, whole: Schema): SettingField {
  const [first, last] = whole.anyOf ?? [];
  const isNullable = first !== undefined && last?.type === "null";
  const schema = isNullable ? first : whole;
  const choices = (schema.anyOf ?? []).flatMap((one) => (typeof one.const === "string" ? [one.const] : []));
  return {
    name,
    kind: kindOf(schema),
    isNullable,
    description: (schema.description ?? "").replaceAll("`", ""),
    choices,
    usual: Object.entries(SETTING_DEFAULTS).find(([key]) => key === name)?.[1] ?? null,
    example: schema.examples?.[0] ?? null,
  };
}

function kindOf({ type, anyOf }: Schema): FieldKind {
  if (anyOf !== undefined) return "choice";
  if (type === "string") return "text";
  if (type === "boolean") return "flag";
  return type === "integer" || type === "number" ? type : "json";
}
