import { Tracing } from "../../../lib/services/tracing/tracing.ts";

/** Keeps calls in the traces that they come with, and exports nothing. */
export const NO_TRACING = new Tracing(null);
