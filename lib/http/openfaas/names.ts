import { checkNamespace } from "../../domain/openfaas/deployment.ts";

/** Returns the function's name in `name` or `name.namespace`; throws `not_found` for a namespace that there is not. */
export function functionNamed(text: string): string {
  const dot = text.indexOf(".");
  if (dot === -1) return text;
  checkNamespace(text.slice(dot + 1));
  return text.slice(0, dot);
}
