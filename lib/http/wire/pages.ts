import { type TSchema, Type } from "@sinclair/typebox";
import { t } from "elysia";
import { PAGE } from "../../domain/limits.ts";
import { Nullable } from "../../domain/types.ts";
import { wholeNumber } from "./parameters.ts";

/** The parameters of a list that always comes in pages; `records` is the plural of what it has, as a sentence begins with it. */
export function pageFields(records: string) {
  return {
    cursor: t.Optional(t.String({ description: "`next_cursor` of the page before." })),
    limit: t.Optional(
      wholeNumber({
        description: `${records} per page; ${PAGE.default} by default.`,
        minimum: 1,
        maximum: PAGE.max,
        example: 50,
      }),
    ),
  };
}

/** The query of a list that comes whole unless it has one of these parameters. Others are ignored, as they always were. */
export const PageParameters = t.Object(
  {
    cursor: t.Optional(t.String({ description: "`next_cursor` of the page before." })),
    limit: t.Optional(
      wholeNumber({
        description: `Answer with a page of at most so many records; with only a \`cursor\`, ${PAGE.default}.`,
        minimum: 1,
        maximum: PAGE.max,
        example: 50,
      }),
    ),
  },
  // Elysia's own default is false.
  { additionalProperties: true },
);

/** The same for a list that can be searched. */
export const SearchParameters = t.Object(
  {
    ...PageParameters.properties,
    search: t.Optional(
      t.String({
        maxLength: 200,
        description: "Answer with a page of the functions whose name, image or id has this text, in whatever case.",
      }),
    ),
  },
  { additionalProperties: true },
);

/** Returns the schema of a list: all records, or a page of them under their name with the cursor of the next one. */
export function ListOrPage<T extends TSchema>(record: T, name: "functions" | "routes") {
  const all = Type.Array(record);
  const page = Type.Object({
    [name]: all,
    next_cursor: Nullable(Type.String({ description: "Send it as `cursor` for the next page; null on the last one." })),
  });
  return Type.Union([all, page], { description: "A list; with `limit` or `cursor`, a page of it." });
}
