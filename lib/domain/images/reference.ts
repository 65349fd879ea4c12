import { AppError } from "../errors.ts";
import { IMAGE_REFERENCE_LENGTH } from "../limits.ts";

/** An image reference taken apart. */
export interface ImageReference {
  /** The registry; `docker.io` where none was named, empty in a name that only an image on the engine can have. */
  readonly domain: string;
  /** The repository in it, such as `library/busybox`. */
  readonly path: string;
  /** `latest` where neither a tag nor a digest was given. */
  readonly tag: string | null;
  readonly digest: string | null;
  /** Domain and path as people write them: `busybox`, `user/app`, `ghcr.io/user/app`. */
  readonly name: string;
  /** Everything spelt out: `docker.io/library/busybox:latest`. */
  readonly normalized: string;
}

const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DOMAIN = "index.docker.io";
const OFFICIAL = "library/";
/** `NameTotalLengthMax` of distribution/reference: domain and path together. */
const NAME_LENGTH = 255;

// The grammar of distribution/reference (regexp.go), which the engine judges by.
const DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = `${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*(?::[0-9]+)?`;
const PATH_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
const REFERENCE = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})(?::(${TAG}))?(?:@([A-Za-z0-9_+.:-]+))?$`);
/** Hexadecimal digits of the digests that the engine can check. */
const DIGEST_DIGITS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** Takes a reference apart as the engine would. Throws `invalid_request` saying what is wrong with it. */
export function parseImageReference(text: string): ImageReference {
  if (text.length > IMAGE_REFERENCE_LENGTH)
    throw invalid(text, `it is longer than ${IMAGE_REFERENCE_LENGTH} characters`);
  if (/^[a-f0-9]{64}$/.test(text)) throw invalid(text, "it is an image id: give the image a name and a tag");
  const [first, path] = splitDomain(text);
  const match = REFERENCE.exec(`${first}/${path}`);
  if (match === null) throw invalid(text, problemOf(text, path));
  // A first part with a dot that is no host name, such as `my_team.x/app`, is a path without a domain to the engine.
  const [, domain = "", repository = "", tag = null, digest = null] = match;
  if (digest !== null && !isDigest(digest)) {
    throw invalid(text, 'the digest after "@" is not "sha256:" with 64 lower-case hexadecimal digits');
  }
  const fullName = domain === "" ? repository : `${domain}/${repository}`;
  if (fullName.length > NAME_LENGTH) throw invalid(text, `its name is longer than ${NAME_LENGTH} characters`);
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

/** A name that an engine gave, spelt out; engines differ in how much they leave out. One that is no reference stays. */
export function spelledOut(name: string): string {
  try {
    return parseImageReference(name).normalized;
  } catch {
    return name;
  }
}

/**
 * What a pull must be asked for. Never without a tag: the engine would pull all of them. The name is spelt out,
 * and a digest wins over a tag beside it.
 */
export function pullTarget(reference: ImageReference): { readonly from_image: string; readonly tag: string } {
  return {
    from_image: reference.domain === "" ? reference.path : `${reference.domain}/${reference.path}`,
    tag: reference.digest ?? reference.tag ?? "latest",
  };
}

/** What comes before the first slash is a registry if it looks like a host, and a user of Docker Hub if not. */
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

/** The likeliest mistake in a reference that the grammar refused. */
function problemOf(text: string, path: string): string {
  if (text === "") return "it is empty";
  if (/\s/.test(text)) return "it contains white space";
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return 'it is a URL: leave out what is before and including "://"';
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
    return 'what follows ":" is no tag: letters, digits, "_", "." and "-", at most 128, not beginning with "." or "-"';
  }
  if (at !== -1 && path.slice(at + 1) === "") return 'nothing follows "@"';
  return "it must look like [registry[:port]/]name[:tag][@digest], with a lower-case name";
}

function invalid(text: string, problem: string): AppError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}...` : text;
  return new AppError("invalid_request", `Invalid image reference ${JSON.stringify(shown)}: ${problem}`);
}
