import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { IMAGE_REFERENCE_LENGTH } from "../limits.ts";

/** The parts of an image reference. */
export interface ImageReference {
  /** The registry: `docker.io` if none is named, empty for a name that only an image on the engine can have. */
  readonly domain: string;
  /** The repository, such as `library/busybox`. */
  readonly path: string;
  /** `latest` if neither a tag nor a digest is given. */
  readonly tag: string | null;
  readonly digest: string | null;
  /** Domain and path as people write them: `busybox`, `user/app`, `ghcr.io/user/app`. */
  readonly name: string;
  /** The full reference: `docker.io/library/busybox:latest`. */
  readonly normalized: string;
}

/** The registry part of the names of images that were built here. No registry has it: such images are never pulled. */
export const BUILT_DOMAIN = "slipway.local";

const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DOMAIN = "index.docker.io";
const OFFICIAL = "library/";
/** `NameTotalLengthMax` of distribution/reference: domain and path together. */
const NAME_LENGTH = 255;

// The grammar of distribution/reference (regexp.go), which the engine uses.
const DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = `${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*(?::[0-9]+)?`;
const PATH_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
const REFERENCE = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})(?::(${TAG}))?(?:@([A-Za-z0-9_+.:-]+))?$`);
/** The number of hexadecimal digits of each digest that the engine can verify. */
const DIGEST_DIGITS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** Parses a reference as the engine does. Throws `invalid_request` with the likeliest mistake. */
export function parseImageReference(text: string): ImageReference {
  if (text.length > IMAGE_REFERENCE_LENGTH)
    throw invalidReference(text, `it is longer than ${IMAGE_REFERENCE_LENGTH} characters`);
  if (/^[a-f0-9]{64}$/.test(text)) throw invalidReference(text, "it is an image id: give the image a name and a tag");
  const [first, path] = splitDomain(text);
  const match = REFERENCE.exec(`${first}/${path}`);
  if (match === null) throw invalidReference(text, likelyMistake(text, path));
  // If the first part has a dot but is not a host name (`my_team.x/app`), the engine takes it as part of the path.
  const [, domain = "", repository = "", tag = null, digest = null] = match;
  if (digest !== null && !isDigest(digest)) {
    throw invalidReference(text, 'the digest after "@" is not "sha256:" with 64 lower-case hexadecimal digits');
  }
  const fullName = domain === "" ? repository : `${domain}/${repository}`;
  if (fullName.length > NAME_LENGTH) throw invalidReference(text, `its name is longer than ${NAME_LENGTH} characters`);
  const knownTag = tag === null && digest === null ? "latest" : tag;
  return {
    domain,
    path: repository,
    tag: knownTag,
    digest,
    name: domain === DEFAULT_DOMAIN ? familiarName(repository) : fullName,
    normalized: `${fullName}${knownTag === null ? "" : `:${knownTag}`}${digest === null ? "" : `@${digest}`}`,
  };
}

/** Returns the full form of a name that an engine reports; engines shorten differently. Other texts stay as they are. */
export function spelledOut(name: string): string {
  try {
    return parseImageReference(name).normalized;
  } catch {
    return name;
  }
}

/**
 * Returns the arguments for a pull: the full name, and always a tag, because without one the engine pulls all tags. A
 * digest takes precedence over a tag.
 */
export function pullTarget(reference: ImageReference): { readonly from_image: string; readonly tag: string } {
  return {
    from_image: reference.domain === "" ? reference.path : `${reference.domain}/${reference.path}`,
    tag: reference.digest ?? reference.tag ?? "latest",
  };
}

/** Splits at the first slash: the part before it is a registry if it looks like a host, else a user of Docker Hub. */
function splitDomain(text: string): readonly [domain: string, path: string] {
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(slash, 0));
  const isDomain = slash !== -1 && (/[.:]/.test(first) || first === "localhost");
  const domain = isDomain && first !== LEGACY_DOMAIN ? first : DEFAULT_DOMAIN;
  const path = isDomain ? text.slice(slash + 1) : text;
  return [domain, domain === DEFAULT_DOMAIN && !path.includes("/") ? OFFICIAL + path : path];
}

function familiarName(path: string): string {
  const rest = path.startsWith(OFFICIAL) ? path.slice(OFFICIAL.length) : path;
  return rest.includes("/") ? path : rest;
}

function isDigest(digest: string): boolean {
  const [algorithm = "", digits = "", more] = digest.split(":");
  return more === undefined && DIGEST_DIGITS[algorithm] === digits.length && /^[a-f0-9]+$/.test(digits);
}

/** Returns the likeliest mistake in a reference that does not match the grammar. */
function likelyMistake(text: string, path: string): string {
  if (text === "") return "it is empty";
  if (/\s/.test(text)) return "it contains white space";
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return 'it is a URL: leave out everything up to "://"';
  const at = path.indexOf("@");
  const beforeDigest = at === -1 ? path : path.slice(0, at);
  const colon = beforeDigest.lastIndexOf(":");
  const name = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);
  if (/[A-Z]/.test(name)) return "its name contains upper-case letters";
  if (
    colon !== -1 &&
    new RegExp(`^${PATH}$`).test(name) &&
    !new RegExp(`^${TAG}$`).test(beforeDigest.slice(colon + 1))
  ) {
    return 'the part after ":" is not a tag: letters, digits, "_", "." and "-", at most 128, not starting with "." or "-"';
  }
  if (at !== -1 && path.slice(at + 1) === "") return 'nothing follows "@"';
  return "it must look like [registry[:port]/]name[:tag][@digest], with a lower-case name";
}

function invalidReference(text: string, problem: string): AppError {
  return new AppError("invalid_request", `Invalid image reference ${quoted(text)}: ${problem}`);
}
