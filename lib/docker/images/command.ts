import type { Settings } from "../../domain/functions/settings.ts";
import type { ImageConfig } from "../api/images.ts";

/** What a function says in place of its image's entrypoint and command. */
export type OwnCommand = Partial<Pick<Settings, "entrypoint" | "command">>;

/** The whole command of a function: an entrypoint of its own drops the image's command, as `docker run` does. */
export function commandOf({ entrypoint, command }: OwnCommand, image: ImageConfig): readonly string[] {
  const ofImage = entrypoint ? [] : image.command;
  return [...(entrypoint ?? image.entrypoint), ...(command ?? ofImage)];
}
