import { checkSite, type Credentials, keyOf } from "../../access/access.ts";

/** The parts of a credential behind the access key id: date, region, service and `aws4_request`. */
const SCOPE_PARTS = 4;
/** The same in the scope of `AWS4-ECDSA-P256-SHA256`, which is for several regions. */
const REGIONLESS_PARTS = 3;
/** The parameter of a presigned URL that has the credential. */
const PRESIGNED = "X-Amz-Credential";

/**
 * The keys of AWS clients: the access key id in the credential of a signature (version 4), in the header or in a presigned URL. Any
 * signature is accepted. They always send one, so "test" or a key of AWS is as good as none where none is needed. A bearer token
 * works, too. A key in a URL throws `forbidden` if the request comes from another site's page: such a page can know, or guess, a URL.
 */
export const AWS_CREDENTIALS: Credentials = {
  keyIn: (request) => (isSigned(request) ? accessKeyId(request) : keyOf(request)),
  always_sent: true,
};

function isSigned({ headers, url }: Request): boolean {
  return isSignature(headers.get("authorization")) || url.includes(`${PRESIGNED}=`);
}

function isSignature(header: string | null): header is string {
  return header !== null && /^AWS4-/i.test(header);
}

/** Returns the access key id of a signed request; empty if there is none. */
function accessKeyId(request: Request): string {
  const header = request.headers.get("authorization");
  const credential = isSignature(header) ? /[\s,]Credential=([^,\s]+)/.exec(header)?.[1] : presigned(request);
  const parts = (credential ?? "").split("/");
  // A key may have slashes, the scope has none.
  return parts.slice(0, /^AWS4-ECDSA-/i.test(header ?? "") ? -REGIONLESS_PARTS : -SCOPE_PARTS).join("/");
}

function presigned(request: Request): string | null {
  checkSite(request);
  return new URLSearchParams(request.url.slice(request.url.indexOf("?"))).get(PRESIGNED);
}
