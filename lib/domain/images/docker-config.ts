import { Type, type Static } from "@sinclair/typebox";
import { messageOf } from "../errors.ts";
import { REGISTRY_IMPORTS, REGISTRY_PASSWORD_LENGTH, REGISTRY_USERNAME_LENGTH } from "../limits.ts";
import { type RegistryCredentials, registryHost, type RegistryImport } from "./registries.ts";

/** The body of `POST /v1/registries/import`: Docker's `config.json`, which also contains much besides registries. */
export const DockerConfig = Type.Object(
  {
    auths: Type.Optional(
      // Problems are reported per entry. No schema looks into an entry, because its contents must not be shown.
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
        description: "A helper that stores the credentials outside the file; they cannot be imported.",
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
            description: "Helpers for single registries.",
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
  /** The name of the entry in the file. */
  readonly entry: string;
  readonly credentials: RegistryCredentials;
}

/** An entry that was skipped. */
export type SkippedEntry = RegistryImport["skipped"][number];

/** Reads the credentials in a `config.json`, and the reasons why others cannot be read. */
export function readDockerConfig(config: DockerConfig): { found: ConfigEntry[]; skipped: SkippedEntry[] } {
  const found = new Map<string, ConfigEntry>();
  const skipped: SkippedEntry[] = [];
  const helpers = new Map(Object.entries(config.credHelpers ?? {}));
  const auths = Object.entries(config.auths ?? {});
  for (const [entry, value] of auths) {
    const read = readEntry(entry, value, helpers.get(entry) ?? config.credsStore);
    if (typeof read === "string") {
      skipped.push({ entry: entryName(entry), problem: read });
      continue;
    }
    const same = found.get(read.host);
    if (same === undefined) found.set(read.host, { entry: entryName(entry), credentials: read });
    else skipped.push({ entry: entryName(entry), problem: `the entry "${same.entry}" is for the same registry` });
  }
  for (const [entry, helper] of helpers) {
    if (!auths.some(([name]) => name === entry))
      skipped.push({ entry: entryName(entry), problem: inHelper(entry, helper) });
  }
  if (config.credsStore !== undefined && auths.length === 0) {
    skipped.push({ entry: "credsStore", problem: inHelper("<host>", config.credsStore) });
  }
  return { found: [...found.values()], skipped };
}

/** Returns the credentials of an entry, or the reason why there are none. */
function readEntry(entry: string, value: unknown, helper: unknown): RegistryCredentials | string {
  let host: string;
  try {
    host = registryHost(entry);
  } catch (error) {
    return messageOf(error);
  }
  const { auth, username, password, identitytoken, registrytoken } = fieldsOf(value);
  const pair = auth === undefined ? { name: username, word: password } : decodeAuth(auth);
  if (pair === undefined) return `its "auth" is not the base64 of "username:password"; ${remedy(host)}`;
  const name = pair.name === undefined || pair.name === "" ? null : pair.name;
  if (identitytoken) return checked({ host, username: name, kind: "identity_token", secret: identitytoken });
  if (pair.word && name !== null) return checked({ host, username: name, kind: "password", secret: pair.word });
  if (registrytoken) return `it has a registry token, which is for one image and soon expires; ${remedy(host)}`;
  return helper === undefined ? `it has no credentials; ${remedy(host)}` : inHelper(host, helper);
}

function checked(credentials: RegistryCredentials): RegistryCredentials | string {
  const { host, username, secret } = credentials;
  if ((username?.length ?? 0) > REGISTRY_USERNAME_LENGTH || secret.length > REGISTRY_PASSWORD_LENGTH) {
    return `its username or password is too long: at most ${REGISTRY_USERNAME_LENGTH} and ${REGISTRY_PASSWORD_LENGTH} characters`;
  }
  const text = `${username ?? ""}${secret}`;
  return text.isWellFormed() && !text.includes("\0") ? credentials : `its credentials are not text; ${remedy(host)}`;
}

const FIELDS = ["auth", "username", "password", "identitytoken", "registrytoken"] as const;

/** Returns the fields that are non-empty strings, as Docker does. */
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

/** Decodes `auth` as Docker does: base64 of the username, a colon and the password, which may end in NULs. */
function decodeAuth(auth: string): { readonly name: string; readonly word: string } | undefined {
  const bytes = Buffer.from(auth, "base64");
  // Decoding skips invalid characters.
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

function entryName(entry: string): string {
  return entry.length > 255 ? `${entry.slice(0, 255)}...` : entry;
}
