/** An image that this server pulled or built, with the full names (tags and digests) that it got by that. */
export interface PulledImage {
  readonly image_id: string;
  readonly names: readonly string[];
}

/** The effect of a pull or a build on the engine. */
export interface Pulled {
  readonly image_id: string;
  /** True if the image was not there before. */
  readonly brought: boolean;
  /** The names that the image got, and whether each is new on the engine. */
  readonly names: readonly { readonly name: string; readonly created: boolean }[];
}

/** An image that the engine now has under another id: ids belong to its image store, digests to the image. */
export interface RenamedImage {
  /** Null for an image that came from no registry. */
  readonly digest: string | null;
  readonly before: string;
  readonly image_id: string;
}

/**
 * Returns the images that change with a pull, each as a whole record. An image is ours if one of our pulls brought it. A
 * name is ours if one of our pulls created it, even if a later pull moved it to another image.
 */
export function afterPull(known: readonly PulledImage[], pulled: Pulled): PulledImage[] {
  const { image_id } = pulled;
  const owned = new Set(known.flatMap(({ names }) => names));
  const given = new Set(pulled.names.map(({ name }) => name));
  const mine = pulled.names.filter(({ name, created }) => created || owned.has(name)).map(({ name }) => name);
  const before = known.find((image) => image.image_id === image_id);
  const lost = known
    .filter((image) => image !== before && image.names.some((name) => given.has(name)))
    .map((image) => ({ ...image, names: image.names.filter((name) => !given.has(name)) }));
  if (before === undefined && !pulled.brought) return lost;
  return [...lost, { image_id, names: [...new Set([...(before?.names ?? []), ...mine])] }];
}
