/**
 * The images of functions that servers share. An image is the same on all engines by its digest, but has another id in
 * each kind of image store. So functions keep the id that the server which registered them has written, and each server knows
 * the one on its own engine.
 */
export interface SharedImages {
  /** Returns the id on this engine of an image of functions, as far as it is known. */
  ownId(imageId: string): string;
  /** Notes that id. Never rejects: one that could not be written is found out again. */
  note(imageId: string, ownId: string): Promise<void>;
  /** Runs work that may pull an image, and notes its id only then; no image is removed meanwhile. */
  holding<T>(work: () => Promise<T>): Promise<T>;
  /** Returns why an image that no registry has cannot be a function's; undefined if it can. */
  localProblem(reference: string): string | undefined;
}
