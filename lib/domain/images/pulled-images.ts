/** An image that this server pulled, with the names that its pulls gave it: tags and digests, spelt out. */
export interface PulledImage {
  readonly image_id: string;
  readonly names: readonly string[];
}

/** What a pull has done on the engine. */
export interface Pulled {
  readonly image_id: string;
  /** Whether the image was not there before. */
  readonly brought: boolean;
  /** The names that the image has by it, and whether there was none such before, of whatever image. */
  readonly names: readonly { readonly name: string; readonly created: boolean }[];
}

/**
 * What a pull changes of what is known: the images to be written, each whole. An image is ours where one of our pulls
 * brought it. A name is ours where one of our pulls made it, also where a later one gave it to another image.
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
