import type { Build, BuildPage, BuildListQuery } from "../domain/builds/builds.ts";

/** Keeps the records of builds, and what they have printed. */
export interface BuildStore {
  get(id: string): Build | undefined;
  /** Returns what a build that is over has printed; undefined if there is none. */
  output(id: string): string | undefined;
  list(query: BuildListQuery): BuildPage;
  /** Lists the builds that have not ended. */
  unfinished(): Build[];
  /** Adds a record, or replaces it; with `output`, which a build has when it is over, also that. */
  put(build: Build, output?: string): Promise<void>;
  /** Removes the oldest records beyond `keep`. */
  prune(keep: number): Promise<void>;
}
