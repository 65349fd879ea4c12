/** Sends a request to a registry's API; an error status throws. */
export type RegistryRequest = (path: string, init?: RequestInit) => Promise<Response>;

/** An image in a registry: a repository and a tag. */
export interface Name {
  readonly repository: string;
  readonly tag: string;
}

/** The parts of a manifest that matter here. */
interface Manifest {
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Config {
  readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
  readonly history?: readonly object[];
}

export const MANIFEST_TYPES =
  "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";

/**
 * Makes an image in a registry of another one there, with a layer for each of these files (named `/layer-0` and so on).
 * No engine has a part in it, which would take a second. Returns the digest.
 */
export async function addLayers(
  request: RegistryRequest,
  base: Name,
  image: Name,
  files: readonly Uint8Array<ArrayBuffer>[],
): Promise<string> {
  const answer = await request(`${base.repository}/manifests/${base.tag}`, { headers: { accept: MANIFEST_TYPES } });
  const type = answer.headers.get("content-type") ?? "";
  const manifest = (await answer.json()) as Manifest; // the registry's own format
  const config = (await (await request(`${base.repository}/blobs/${manifest.config.digest}`)).json()) as Config;
  for (const { digest } of manifest.layers)
    await request(`${image.repository}/blobs/uploads/?mount=${digest}&from=${base.repository}`, { method: "POST" });
  const tars = await Promise.all(files.map((file, index) => new Bun.Archive({ [`layer-${index}`]: file }).bytes()));
  const layers = await Promise.all(
    tars.map((tar) => upload(request, image.repository, Bun.gzipSync(tar, { level: 1 }))),
  );
  const created = new Date().toISOString();
  const changed = {
    ...config,
    created,
    rootfs: { ...config.rootfs, diff_ids: [...config.rootfs.diff_ids, ...tars.map(digestOf)] },
    history: [...(config.history ?? []), ...tars.map(() => ({ created, created_by: "a test" }))],
  };
  const newConfig = await upload(request, image.repository, bytesOf(changed));
  const body = bytesOf({
    ...manifest,
    config: { ...manifest.config, ...newConfig },
    layers: [...manifest.layers, ...layers.map((layer) => ({ ...manifest.layers[0], ...layer }))],
  });
  await request(`${image.repository}/manifests/${image.tag}`, {
    method: "PUT",
    body,
    headers: { "content-type": type },
  });
  return digestOf(body);
}

async function upload(
  request: RegistryRequest,
  repository: string,
  body: Uint8Array<ArrayBuffer>,
): Promise<Pick<Descriptor, "digest" | "size">> {
  const digest = digestOf(body);
  const begun = await request(`${repository}/blobs/uploads/`, { method: "POST" });
  const place = new URL(begun.headers.get("location") ?? "", begun.url);
  place.searchParams.set("digest", digest);
  await request(place.pathname.slice("/v2/".length) + place.search, { method: "PUT", body });
  return { digest, size: body.length };
}

/** Returns JSON as Docker writes manifests: an engine that pushes the image again gives it the same digest. */
function bytesOf(value: object): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(JSON.stringify(value, null, 3)));
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
