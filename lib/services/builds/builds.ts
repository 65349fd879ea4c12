import type { Clock } from "../../clock.ts";
import {
  type Build,
  type BuildPage,
  type BuildListQuery,
  type BuildReason,
  type BuildRequest,
  builtImageName,
} from "../../domain/builds/builds.ts";
import { BUILT_DOMAIN } from "../../domain/images/reference.ts";
import { deadline, TaskGroup } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BUILDS, BUILDS_WAITING } from "../../domain/limits.ts";
import { notFound } from "../../domain/quoted.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { BuildResult, BuildTimes, ImageBuilder } from "../../runner/platform.ts";
import type { BuildStore } from "../../store/builds.ts";
import type { ImageRetention } from "../images/retention.ts";
import { storedLog, toStored } from "./build-log.ts";
import type { ContextFile, ContextFiles } from "./context-files.ts";
import type { Leftovers } from "./leftovers.ts";
import { type BuildListener, RunningBuild } from "./running-build.ts";

interface BuildDeps {
  readonly store: BuildStore;
  readonly builder: Pick<ImageBuilder, "build" | "discard">;
  readonly retention: Pick<ImageRetention, "holding" | "built" | "namesOf">;
  readonly files: ContextFiles;
  readonly leftovers: Leftovers;
  readonly timeout_ms: number;
  readonly at_once: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The time after which a client may send another build, in seconds. */
const RETRY_AFTER_S = 10;
/** The reasons for which a build is cancelled: nobody wants it any longer, or its server ends. */
const [CANCELLED, STOPPING] = [Symbol("cancelled"), Symbol("stopping")];

/** A context that arrives, and the place in the queue that it has already. */
export interface Arrival {
  readonly file: ContextFile;
  /** Ends the arrival and queues the build. */
  submit(): Promise<Build>;
  /** Gives up the place, unless the build was submitted. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The end of a build that did not succeed. */
type Failure = Pick<Build, "status" | "reason" | "error">;

/** Builds images, a few at a time, and keeps a record of each build. */
export class BuildService implements AsyncDisposable {
  readonly #deps: BuildDeps;
  readonly #builds = new Map<string, RunningBuild>();
  readonly #waiting: RunningBuild[] = [];
  readonly #tasks = new TaskGroup();
  /** The builds of an earlier server that did not end. */
  readonly #unfinished: Build[] = [];
  #arriving = 0;
  #running = 0;
  #isStopping = false;

  constructor(deps: BuildDeps) {
    this.#deps = deps;
  }

  /** Ends the records of builds that an earlier server did not finish, and removes their contexts. Before all others. */
  async prepare(): Promise<void> {
    const { store, files, clock, timeout_ms } = this.#deps;
    for (const build of store.unfinished()) {
      this.#unfinished.push(build);
      await store.put({ ...build, ...failureOf(STOPPING, timeout_ms), ended_at: timestamp(clock.now()) });
    }
    files.clear();
  }

  /** Begins to remove what builds of earlier servers have left. */
  start(): void {
    this.#deps.leftovers.ofEarlierServer(this.#unfinished.map(({ name, id }) => builtImageName(name, id)));
  }

  /** True while a build runs. */
  get isBusy(): boolean {
    return this.#running > 0;
  }

  /** Returns when the builds ran that are over and have records. */
  times(): BuildTimes[] {
    const { builds } = this.#deps.store.list({
      name: null,
      status: null,
      before: Number.MAX_SAFE_INTEGER,
      limit: BUILDS,
    });
    return builds.flatMap(({ started_at, ended_at }) =>
      started_at === null || ended_at === null ? [] : [{ from: Date.parse(started_at), to: Date.parse(ended_at) }],
    );
  }

  list(query: BuildListQuery): BuildPage {
    const page = this.#deps.store.list(query);
    // The step of a build that runs is only known here.
    return { ...page, builds: page.builds.map((build) => this.#builds.get(build.id)?.record ?? build) };
  }

  /** Returns the record of a build; throws `not_found`. */
  get(id: string): Build {
    const found = this.#builds.get(id)?.record ?? this.#deps.store.get(id);
    if (found === undefined) throw notFound("build", id);
    return found;
  }

  /** Takes a place for a build whose context is about to arrive. Throws `too_many_requests` if there is none. */
  async receive(request: BuildRequest): Promise<Arrival> {
    this.#checkPlace();
    this.#arriving += 1;
    const id = this.#deps.clock.invocationId();
    let isOpen = true;
    const leave = () => {
      if (isOpen) this.#arriving -= 1;
      isOpen = false;
    };
    try {
      const file = await this.#deps.files.create(id);
      return {
        file,
        submit: () => {
          leave();
          return this.#submit(id, request, file);
        },
        [Symbol.asyncDispose]: async () => {
          if (!isOpen) return;
          leave();
          await file.close().catch(() => undefined);
          await file.remove();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Cancels a build, and settles when it has ended. Throws `conflict` if it already has. */
  async cancel(id: string): Promise<Build> {
    const { status } = this.get(id);
    const build = this.#builds.get(id);
    if (build === undefined) throw new AppError("conflict", `The build has ended already: it is "${status}"`);
    const ended = Promise.withResolvers<Build>();
    build.follow((event) => {
      if (event.type === "state" && event.build.ended_at !== null) ended.resolve(event.build);
    });
    build.cancel(CANCELLED);
    const place = this.#waiting.indexOf(build);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      await this.#end(build, failureOf(CANCELLED, this.#deps.timeout_ms));
    }
    return ended.promise;
  }

  /**
   * Calls `listener` with what a build has printed after a position, with its state, and with all that happens from now on;
   * the last is the state in which it has ended. The returned function ends that. Throws `not_found`.
   */
  follow(id: string, position: number, listener: BuildListener): () => void {
    const build = this.#builds.get(id);
    const log = build?.log ?? storedLog(this.#deps.store.output(id));
    const record = this.get(id);
    const text = log.after(position);
    if (text !== "") listener({ type: "log", text, position: log.end });
    listener({ type: "state", build: record });
    return build?.follow(listener) ?? (() => undefined);
  }

  /** Takes no more builds, and waits for those that run. */
  async drain(graceMs: number): Promise<void> {
    await this.#stop();
    await this.#tasks.settledWithin(this.#deps.clock, graceMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    for (const build of this.#builds.values()) build.cancel(STOPPING);
    await this.#tasks.settled();
  }

  async #stop(): Promise<void> {
    this.#isStopping = true;
    for (const build of this.#waiting.splice(0)) {
      await this.#end(build, failureOf(STOPPING, this.#deps.timeout_ms));
    }
  }

  #checkOpen(): void {
    if (this.#isStopping)
      throw new AppError("shutting_down", "The server is stopping: send the build again in a moment");
  }

  #checkPlace(): void {
    this.#checkOpen();
    if (this.#arriving + this.#waiting.length < BUILDS_WAITING) return;
    const message = `${BUILDS_WAITING} builds are waiting already: try again in a moment`;
    throw new AppError("too_many_requests", message, { retry_after_s: RETRY_AFTER_S });
  }

  /** Queues a build whose context has arrived; without success the context is removed. */
  async #submit(id: string, request: BuildRequest, file: ContextFile): Promise<Build> {
    try {
      await file.close();
      this.#checkOpen();
      return await this.#enqueue(id, request, file);
    } catch (error) {
      await file.remove();
      throw error;
    }
  }

  async #enqueue(id: string, request: BuildRequest, file: ContextFile): Promise<Build> {
    const { store, clock } = this.#deps;
    const { name, dockerfile, target, no_cache, pull } = request;
    const record: Build = {
      id,
      name,
      status: "queued",
      image: null,
      image_id: null,
      step: null,
      reason: null,
      error: null,
      dockerfile,
      target,
      no_cache,
      pull,
      context_bytes: file.bytes,
      created_at: timestamp(clock.now()),
      started_at: null,
      ended_at: null,
    };
    const build = new RunningBuild(record, request, file);
    this.#builds.set(id, build);
    this.#waiting.push(build);
    try {
      await store.put(record);
      await store.prune(BUILDS);
    } catch (error) {
      await this.#forget(build);
      throw error;
    }
    // It may have been cancelled, or the server stopped, meanwhile: then it waits no more.
    this.#advance();
    return build.record;
  }

  /** Removes what the engine has left of images that were built, as soon as no build runs. */
  sweepSoon(): void {
    this.#deps.leftovers.soon();
  }

  /** Begins builds that wait, as long as there is room. */
  #advance(): void {
    while (this.#running < this.#deps.at_once) {
      const build = this.#waiting.shift();
      if (build === undefined) return;
      this.#running += 1;
      void this.#tasks.add(
        this.#run(build).finally(() => {
          this.#running -= 1;
          if (this.#running === 0) this.#deps.leftovers.soon();
          this.#advance();
        }),
      );
    }
  }

  async #run(build: RunningBuild): Promise<void> {
    const { leftovers, store, clock, timeout_ms } = this.#deps;
    using limit = deadline(clock, timeout_ms, build.signal);
    try {
      // An image in the middle of a build looks like one that was left.
      await leftovers.settled();
      limit.signal.throwIfAborted();
      await store.put(build.change({ status: "running", started_at: timestamp(clock.now()) }));
      await this.#build(build, limit.signal);
    } catch (error) {
      if (!limit.signal.aborted && !(error instanceof AppError)) this.#complain("build an image", error);
      await this.#end(build, failureOf(limit.signal.aborted ? limit.signal.reason : error, timeout_ms));
    }
  }

  /** Has the image built, and keeps retention from removing it before a function has it. */
  async #build(build: RunningBuild, signal: AbortSignal): Promise<void> {
    const { builder, retention } = this.#deps;
    const { request, context } = build;
    const { id } = build.record;
    await retention.holding(async () => {
      const image = builtImageName(request.name, id);
      const watcher = {
        onStep: (step: NonNullable<Build["step"]>) => void build.change({ step }),
        onText: (text: string) => build.print(text),
      };
      const result = await builder.build({ request, image, context: context.path, signal }, watcher);
      if ("reason" in result) return this.#end(build, { status: "failed", ...result });
      const { image_id } = result;
      await this.#end(build, { status: "succeeded", image: await this.#nameOf(request.name, image, result), image_id });
    });
  }

  /** Returns the name of an image that was built: the one that it has already if an earlier build has made just the same. */
  async #nameOf(
    name: string,
    image: string,
    { image_id, names }: Extract<BuildResult, { readonly image_id: string }>,
  ): Promise<string> {
    const { builder, retention } = this.#deps;
    const earlier = retention
      .namesOf(image_id)
      .find((known) => known !== image && known.startsWith(`${BUILT_DOMAIN}/${name}:`) && names.includes(known));
    if (earlier !== undefined) await builder.discard(image);
    const given = names.filter((one) => one.startsWith(`${BUILT_DOMAIN}/`) && (earlier === undefined || one !== image));
    await retention.built({
      image_id,
      brought: true,
      names: given.map((one) => ({ name: one, created: true })),
    });
    return earlier ?? image;
  }

  async #end(build: RunningBuild, changes: Partial<Build>): Promise<void> {
    const { store, clock, log } = this.#deps;
    const ended: Build = { ...build.record, ...changes, ended_at: timestamp(clock.now()) };
    const { id, name, status, image, error } = ended;
    log.info("build ended", {
      build: id,
      name,
      status,
      ...(image !== null && { image }),
      ...(error !== null && { error }),
    });
    try {
      await store.put(ended, toStored(build.log));
    } catch (problem) {
      this.#complain("record a build", problem);
    }
    // Only now: a follower may ask for the record.
    build.change(ended);
    await this.#forget(build);
  }

  async #forget(build: RunningBuild): Promise<void> {
    this.#builds.delete(build.record.id);
    const place = this.#waiting.indexOf(build);
    if (place >= 0) this.#waiting.splice(place, 1);
    await build.context.remove();
  }

  #complain(what: string, error: unknown): void {
    this.#deps.log.error(`cannot ${what}`, { error });
  }
}

/** Returns what a build's record says of its end. */
function failureOf(error: unknown, timeoutMs: number): Failure {
  if (error === CANCELLED) return { status: "cancelled", reason: null, error: null };
  const failed = (reason: BuildReason, message: string): Failure => ({ status: "failed", reason, error: message });
  if (error === STOPPING) return failed("shutting_down", "The server ended in the middle of the build: send it again");
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return failed(
      "build_timeout",
      `The build took longer than ${timeoutMs} ms: make it shorter, or raise BUILD_TIMEOUT_MS`,
    );
  }
  if (error instanceof AppError && error.reason === "engine_unavailable") {
    return failed("engine_unavailable", messageOf(error));
  }
  return failed("internal", "The build failed for a reason that is only in the server's log");
}
