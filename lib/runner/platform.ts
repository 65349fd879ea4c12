import type { BuildReason, BuildRequest, BuildStep } from "../domain/builds/builds.ts";
import { AppError, type Reason } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { ImageSignals } from "../domain/functions/detection.ts";
import type { Settings } from "../domain/functions/settings.ts";
import type { PullWatcher } from "../domain/images/pull-progress.ts";
import type { PulledImage } from "../domain/images/pulled-images.ts";
import type { RegistryCredentials } from "../domain/images/registries.ts";
import type { Unowned } from "../domain/system/system.ts";
import type { ReadyFrame } from "./gate-protocol/frames.ts";

/**
 * Runs instances. Everything above this interface knows functions and the bytes of their gates; everything about the
 * engine that starts them is below it.
 */
export interface Platform extends AsyncDisposable {
  readonly images: PlatformImages;
  readonly inventory: ImageInventory;
  readonly builder: ImageBuilder;
  readonly health: PlatformHealth;
  /** The id of what has the images and runs the instances; null if it is not known. Asked for only if servers share functions. */
  readonly identity: string | null;
  /** Connects and stays connected. Does not wait for the first connection. */
  start(listener: PlatformListener): void;
  /**
   * Starts an instance of a function and connects to its gate, which may not have said READY yet. Instances of one
   * `group` have equal container fields and share what the function's settings let them share.
   *
   * Throws `engine_unavailable`, `image_unavailable`, `entrypoint_failed`, ..., and the signal's reason if it aborts.
   */
  launch(fn: Function, group: string, signal: AbortSignal): Promise<Channel>;
  /** Frees what the instances of a group share when the last of them has ended. */
  release(group: string): void;
  /** Throws `invalid_request` if instances cannot have these settings, naming what they can have. */
  check(settings: Partial<Settings>): Promise<void>;
  /** Throws `registry_denied` or `registry_unavailable` if a registry does not accept these credentials. */
  checkCredentials(credentials: RegistryCredentials): Promise<void>;
  /** Lists what has this server's mark and that it does not know. Throws if that cannot be found out now. */
  unowned(known: KnownThings): Promise<Unowned[]>;
}

/** The things with a server's mark that it knows besides its instances. */
export interface KnownThings {
  /** Returns the volumes that functions name. */
  readonly volumes: () => Promise<ReadonlySet<string>>;
  /** Returns whether an image that was built is kept, and removed when no function needs it. */
  readonly keepsImage: (imageId: string) => boolean;
  /** Returns whether a build runs, whose images have no name yet. */
  readonly isBuilding: () => boolean;
}

/** The state of a platform. */
export interface PlatformHealth {
  /** The reason why no instance can be launched now, or nothing. */
  readonly problem: AppError | undefined;
  /**
   * Settles when it is known whether instances can be launched. A call that comes right after the start, or after the
   * connection was cut, waits for this instead of being refused.
   */
  readonly settled: Promise<void>;
  /** Asks now, with a short timeout, and returns why no instance can be launched, or nothing. The answer is not kept. */
  probe(): Promise<AppError | undefined>;
}

/** Listens to a platform that was started. */
export interface PlatformListener {
  /** Called when instances can be launched, for the first time or again. */
  readonly onAvailable: () => void;
  /** Called when the instances of a group have lost what they shared, so that none of them can serve another call. */
  readonly onGroupLost: (group: string) => void;
  /** Called when no instance of an earlier server with the same owner is left. */
  readonly onSwept: () => void;
}

/** The connection to one instance. Closing it ends the instance. */
export interface Channel {
  readonly id: string;
  /** The command that the gate runs for a call. */
  readonly command: readonly string[];
  /**
   * Takes what a READY says of the function's user and surroundings, and returns why the instance must not serve a call, or
   * nothing. A comparison of numbers: a warm call waits for it.
   */
  accept(ready: Omit<ReadyFrame, "type" | "version">): AppError | undefined;
  /** Begins to read what the gate sends. Call it once and soon; nothing is lost before. */
  read(reader: ChannelReader): void;
  /** Sends bytes, in a buffer that nobody else uses: it may be freed once it is written. */
  write(bytes: Uint8Array): void;
  /** Ends the instance. The reader hears nothing more. */
  close(): void;
  /** Closes the channel, and has the platform check the gate before the next start: it did not behave like one. */
  reject(): void;
  /** Explains an end that `onEnd` reported. It may take a second until that is known. */
  ended(): Promise<Ending>;
  /** Settles when nothing of the instance is left. */
  gone(): Promise<void>;
}

/** Takes what comes through a channel. The calls are synchronous: a warm call waits for each of them. */
export interface ChannelReader {
  /** Called with the bytes of the gate's stdout, in pieces of any size. They are freed after the call: copy what is kept. */
  readonly onBytes: (bytes: Uint8Array) => void;
  /** Called when the instance has ended, or the connection was lost. */
  readonly onEnd: (why: string) => void;
  /** Called when the stream makes no sense. The channel is still to be closed. */
  readonly onBroken: (problem: string) => void;
}

/** The end of an instance: by itself or from outside, because memory ran out, or along with the engine below. */
export type Ending =
  | { readonly how: "died" }
  | { readonly how: "out_of_memory" }
  | { readonly how: "lost"; readonly problem: AppError };

/** Returns the error for a call whose instance ended before it was ready. */
export function endedEarly(ending: Ending, why: string): AppError {
  switch (ending.how) {
    case "died":
      return new AppError("instance_lost", `The function's container ended before it was ready: ${why}; try again`);
    case "out_of_memory":
      return new AppError("out_of_memory", OUT_OF_MEMORY);
    case "lost":
      return ending.problem;
  }
}

/** Returns the failure of a call whose instance has ended. */
export function endedInCall(ending: Ending): { readonly reason: Reason; readonly message: string } {
  switch (ending.how) {
    case "died":
      return {
        reason: "instance_lost",
        message: "The function's container was ended or removed by something else while it ran",
      };
    case "out_of_memory":
      return { reason: "out_of_memory", message: OUT_OF_MEMORY };
    case "lost":
      return {
        reason: "engine_unavailable",
        message: `The function was lost with its engine: ${ending.problem.message}`,
      };
  }
}

/** The message of a call that ended because memory ran out. */
export const OUT_OF_MEMORY = 'The function ran out of memory and was killed: raise "memory_bytes"';

/** Returns the error for a call whose instance has said nothing for so many milliseconds. */
export function notReady(timeoutMs: number): AppError {
  const message = `The container was not ready within ${timeoutMs} ms: the engine is slow now, try again`;
  return new AppError("engine_unavailable", message, { retry_after_s: 2 });
}

/** Turns image references into images that instances can be made of. */
export interface PlatformImages {
  /** Returns the image behind a reference, pulling it if it is missing. Throws if there would be nothing to run. */
  resolve(reference: string, own: KnownFunction, watcher?: PullWatcher): Promise<ResolvedImage>;
  /** Returns the same without pulling, or nothing if it is missing. */
  look(reference: string, own: KnownFunction): Promise<ResolvedImage | undefined>;
  /** Returns the image that the reference means now: pulled again, or looked up again if it exists only locally. */
  refresh(reference: string, own: KnownFunction, watcher?: PullWatcher): Promise<ResolvedImage>;
  /**
   * Makes sure that a function's own image is present, pulling it again by its digest, and returns the id by which functions
   * have it from now on. Throws `image_unavailable` if that is impossible.
   */
  restore(fn: Function): Promise<string>;
  /** Throws `image_invalid` if servers that share functions have engines that cannot get a function's image. */
  checkReach(fn: Pick<Function, "image" | "digest">): void;
  /** Returns what an image says of how it is spoken to, its `slipway.` labels among it, or nothing if the image is lost. */
  signals(imageId: string): Promise<ImageSignals | undefined>;
  /** Throws `image_invalid` if a function whose image is known would have nothing to run. */
  checkCommand(fn: Pick<Function, "image" | "image_id"> & OwnCommand): Promise<void>;
}

/** Lists all images that are present, and removes those that this server pulled. */
export interface ImageInventory {
  list(): Promise<NamedImage[]>;
  /** Removes an image of ours, unless it is in use or has a name that none of our pulls gave it. */
  remove(image: NamedImage, ours: PulledImage): Promise<Removal>;
}

/** Builds images. */
export interface ImageBuilder {
  /**
   * Builds an image. Returns what came of it; throws `engine_unavailable`, and the signal's reason if it aborts, which
   * cancels the build.
   */
  build(order: BuildOrder, watcher: BuildWatcher): Promise<BuildResult>;
  /** Takes a name from an image that was built, and removes the image with its last name. */
  discard(image: string): Promise<void>;
  /** Removes what builds have left behind besides their images; false if some of it is in use. Call it only while none of ours runs. */
  sweep(): Promise<boolean>;
  /** Removes what the engine has kept of these builds for the next ones, but what was used since a time. */
  removeUnusedCache(builds: readonly BuildTimes[], unusedSince: number): Promise<void>;
}

/** The beginning and the end of a build, in milliseconds since 1970. */
export interface BuildTimes {
  readonly from: number;
  readonly to: number;
}

/** An image to build. */
export interface BuildOrder {
  readonly request: BuildRequest;
  /** The name that the image gets. */
  readonly image: string;
  /** The file with the context: a tar archive, packed with gzip or not. */
  readonly context: string;
  readonly signal: AbortSignal;
}

/** Hears of the progress of a build. */
export interface BuildWatcher {
  readonly onStep: (step: BuildStep) => void;
  readonly onText: (text: string) => void;
}

/** The result of a build that came to its end: the image with its full names, or what went wrong. */
export type BuildResult =
  | { readonly image_id: string; readonly names: readonly string[] }
  | { readonly reason: Extract<BuildReason, "build_failed" | "context_invalid">; readonly error: string };

/** A function's own values for its image's entrypoint and command. */
export type OwnCommand = Partial<Pick<Settings, "entrypoint" | "command">>;

/** A function whose image is looked up: its command, and the image that it has now, if it has one. */
export type KnownFunction = OwnCommand & Partial<Pick<Function, "image_id" | "digest">>;

/** The fields of a function that say which image it runs. */
export interface ResolvedImage {
  readonly image_id: string;
  readonly digest: string | null;
}

/** An image with its names: tags and digests, in full. */
export interface NamedImage {
  readonly id: string;
  readonly names: readonly string[];
}

/** The result of removing an image. */
export type Removal = "removed" | "in_use" | "named_by_others";

/** A registry's credentials as they are now; other credentials have another revision. */
export interface CurrentCredentials extends RegistryCredentials {
  readonly revision: string;
}
