import { codeOf, messageOf } from "../domain/errors.ts";

/** Returns in plain words why a file could not be read or written. */
export function fileProblem(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
    case "EPERM":
      return "you do not have the right to";
    case "EISDIR":
      return "it is a folder";
    default:
      return messageOf(error);
  }
}
