import { AppError } from "./errors.ts";

/** The most characters of a value that a message repeats. */
const QUOTED_CHARACTERS = 100;

/** Returns a value in quotes for a message, as JSON, cut off if it is long. */
export function quoted(text: string, characters = QUOTED_CHARACTERS): string {
  return JSON.stringify(text.length > characters ? `${text.slice(0, characters)}...` : text);
}

/** The hint for each kind of record: the endpoint that lists it. */
const LISTS = {
  build: "GET /v1/builds lists those that are kept",
  function: "GET /v1/functions lists them",
  invocation: "GET /v1/invocations lists those that are kept",
  key: "GET /v1/keys lists them",
  registry: "GET /v1/registries lists them",
  route: "GET /v1/routes lists them",
  schedule: "GET /v1/schedules lists them",
  secret: "GET /v1/secrets lists them",
} as const;

/** Makes the `not_found` for an id or a name that no record of a kind has. */
export function notFound(kind: keyof typeof LISTS, id: string): AppError {
  return new AppError("not_found", `No ${kind} ${quoted(id)}: ${LISTS[kind]}`);
}
