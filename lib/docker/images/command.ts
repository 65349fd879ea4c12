import type { OwnCommand } from "../../runner/platform.ts";
import type { ImageConfig } from "../api/images.ts";

/** Returns the whole command of a function. An entrypoint of its own drops the image's command, as with `docker run`. */
export function commandOf({ entrypoint, command }: OwnCommand, image: ImageConfig): readonly string[] {
  const ofImage = entrypoint ? [] : image.command;
  return [...(entrypoint ?? image.entrypoint), ...(command ?? ofImage)];
}
