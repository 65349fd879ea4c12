import type { OwnCommand } from "../../runner/platform.ts";
import type { ImageConfig } from "../api/images.ts";

/** The whole command of a function: an entrypoint of its own drops the image's command, as `docker run` does. */
export function commandOf({ entrypoint, command }: OwnCommand, image: ImageConfig): readonly string[] {
  const ofImage = entrypoint ? [] : image.command;
  return [...(entrypoint ?? image.entrypoint), ...(command ?? ofImage)];
}
