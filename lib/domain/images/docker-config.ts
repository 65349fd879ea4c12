import { Type, type Static } from "@sinclair/typebox";
import { messageOf } from "../errors.ts";
import { REGISTRY_IMPORTS, REGISTRY_PASSWORD_LENGTH, REGISTRY_USERNAME_LENGTH } from "../limits.ts";
import { type RegistryCredentials, registryHost, type RegistryImport } from "./registries.ts";

/** The body of `POST /v1/registries/import`: Docker's `config.json`, of which there is much that is not about registries. */
export const DockerConfig = Type.Object(
  {
    auths: Type.Optional(
      // What is wrong with an entry is told of that entry; as nothing of it may be shown, no schema looks into it.
      Type.Unsafe<Readonly<Record<string, unknown>>>(
        Type.Object(
          {},
          {
            additionalProperties: true,
            writeOnly: true,
            maxProperties: REGISTRY_IMPORTS,
            description: `Registries and their credentials, as \`docker login\` writes them; at most ${REGISTRY_IMPORTS}.`,
            examples: [{ "ghcr.io": { auth: "ZGVwbG95LWJvdDpjb3JyZWN0IGhvcnNl" } }],
          },
        ),
      ),
    ),
    credsStore: Type.Optional(
      Type.String({
        description: "A helper that has the credentials in the file's place; they cannot be read from here.",
        examples: ["desktop"],
      }),
    ),
    credHelpers: Type.Optional(
      Type.Unsafe<Readonly<Record<string, unknown>>>(
        Type.Object(
          {},
          {
            additionalProperties: true,
            maxProperties: REGISTRY_IMPORTS,
            description: "Helpers of single registries.",
            examples: [{ "gcr.io": "gcloud" }],
          },
        ),
      ),
    ),
  },
  { additionalProperties: true },
);
export type DockerConfig = Static<typeof DockerConfig>;

/** An entry with credentials. */
export interface ConfigEntry {
  /** As the file names it. */
  readonly entry: string;
  readonly credentials: RegistryCredentials;
}

/** An entry that was left out. */
export type SkippedEntry = RegistryImport["skipped"][number];

/** What a `config.json` says about registries: the credentials in it, and what cannot be had from it. */
export function readDockerConfig(config: DockerConfig): { found: ConfigEntry[]; skipped: SkippedEntry[] } {
  const found = new Map<string, ConfigEntry>();
  const skipped: SkippedEntry[] = [];
  const helpers = new Map(Object.entries(config.credHelpers ?? {}));
  const auths = Object.entries(config.auths ?? {});
  for (const [entry, value] of auths) {
    const read = readEntry(entry, value, helpers.get(entry) ?? config.credsStore);
    if (typeof read === "string") {
      skipped.push({ entry: shown(entry), problem: read });
      continue;
    }
    const same = found.get(read.host);
    if (same === undefined) found.set(read.host, { entry: shown(entry), credentials: read });
    else skipped.push({ entry: shown(entry), problem: `the entry "${same.entry}" is for the same registry` });
  }
  for (const [entry, helper] of helpers) {
    if (!auths.some(([name]) => name === entry))
      skipped.push({ entry: shown(entry), problem: inHelper(entry, helper) });
  }
  if (config.credsStore !== undefined && auths.length === 0) {
    skipped.push({ entry: "credsStore", problem: inHelper("<host>", config.credsStore) });
  }
  return { found: [...found.values()], skipped };
}

/** The credentials of an entry, or why there are none. */
function readEntry(entry: string, value: unknown, helper: unknown): RegistryCredentials | string {
  let host: string;
  try {
    host = registryHost(entry);
  } catch (error) {
    return messageOf(error);
  }
  const { auth, username, password, identitytoken, registrytoken } = fieldsOf(value);
  const pair = auth === undefined ? { name: username, word: password } : decodeAuth(auth);
  if (pair === undefined) return `its "auth" is no base64 of "username:password"; ${remedy(host)}`;
  const name = pair.name === undefined || pair.name === "" ? null : pair.name;
  if (identitytoken) return checked({ host, username: name, kind: "identity_token", secret: identitytoken });
  if (pair.word && name !== null) return checked({ host, username: name, kind: "password", secret: pair.word });
  if (registrytoken) return `it has a registry token, which is for one image and soon out of date; ${remedy(host)}`;
  return helper === undefined ? `it has no credentials; ${remedy(host)}` : inHelper(host, helper);
}

function checked(credentials: RegistryCredentials): RegistryCredentials | string {
  const { host, username, secret } = credentials;
  if ((username?.length ?? 0) > REGISTRY_USERNAME_LENGTH || secret.length > REGISTRY_PASSWORD_LENGTH) {
    return `its username or password is too long: at most ${REGISTRY_USERNAME_LENGTH} and ${REGISTRY_PASSWORD_LENGTH} characters`;
  }
  const text = `${username ?? ""}${secret}`;
  return text.isWellFormed() && !text.includes("\0") ? credentials : `its credentials are no text; ${remedy(host)}`;
}

const FIELDS = ["auth", "username", "password", "identitytoken", "registrytoken"] as const;

/** The fields that are strings; Docker leaves out what is empty. */
function fieldsOf(value: unknown): Partial<Record<(typeof FIELDS)[number], string>> {
  if (value === null || typeof value !== "object") return {};
  const given = new Map<string, unknown>(Object.entries(value));
  return Object.fromEntries(
    FIELDS.flatMap((name) => {
      const field = given.get(name);
      return typeof field === "string" && field !== "" ? [[name, field]] : [];
    }),
  );
}

/** Takes `auth` apart as Docker does: base64 of the username, a colon and the password, which may have NULs at its end. */
function decodeAuth(auth: string): { readonly name: string; readonly word: string } | undefined {
  const bytes = Buffer.from(auth, "base64");
  // Decoding skips what is no base64.
  if (bytes.toString("base64").replace(/=+$/, "") !== auth.trim().replace(/=+$/, "")) return undefined;
  const text = bytes.toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 1) return undefined;
  return { name: text.slice(0, colon), word: text.slice(colon + 1).replace(/\0+$/, "") };
}

function inHelper(host: string, helper: unknown): string {
  const name = typeof helper === "string" ? helper.slice(0, 100) : "?";
  return `its credentials are not in the file, but in the helper "${name}"; ${remedy(host.slice(0, 100))}`;
}

function remedy(host: string): string {
  return `PUT /v1/registries/${host} instead`;
}

function shown(entry: string): string {
  return entry.length > 255 ? `${entry.slice(0, 255)}...` : entry;
}
