import { VERSION } from "../../../version.ts";
import type { Define } from "../../tools.ts";

/** `slipway version`: prints the version. */
export const define: Define = (command, { out }) => {
  command.action(() => out.line(`slipway ${VERSION}`));
};
