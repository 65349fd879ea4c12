import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { requireGates } from "../docker/containers/gate-binary.ts";
import { frontOf } from "../http/front/front.ts";
import type { Logger } from "../log.ts";
import { keepServerKey } from "../services/access/server-key.ts";
import type { ServerTools } from "./capability.ts";
import type { Composition } from "./compose.ts";
import { type Data, openData } from "./data.ts";
import { type Apps, listen, type Listeners } from "./ports/listen.ts";

/**
 * The time from opening the ports to putting the server together, and from there to starting the work in the background, in
 * milliseconds. Clients that wait for the port get their answers first: to load all modules takes longer than everything before it. The first request for anything but the server's health does not wait for that time.
 */
const FIRST_ANSWERS_MS = 10;
/** The time from the end of the drain until the last answer is on the wire, in milliseconds. */
const FLUSH_MS = 1_000;

/** A running server. */
export interface Server extends AsyncDisposable {
  readonly url: string;
  /** The URL of the public listener; undefined without one. */
  readonly public_url: string | undefined;
  /** The API key if it was made at this start; it is shown once. */
  readonly new_key: string | undefined;
  /** Settles when the server is put together. If it rejects, the server answers nothing and has to be stopped. */
  readonly composed: Promise<unknown>;
  /**
   * Says on /readyz that it is not ready, takes no more queued work, and still takes calls for DRAIN_DELAY_MS, each the last of its
   * connection; settles after that.
   */
  leave(): Promise<void>;
  /** Closes the ports, waits at most so many milliseconds for running calls, then ends them and releases everything. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts a server. Mistakes in its configuration, its database or its ports show before they are open. Then it answers
 * that it is up; everything else waits until it is put together. Throws a `ConfigError` or a `StoreError`.
 */
export async function start(
  config: Config,
  options: { readonly log: Logger; readonly clock?: Clock },
): Promise<Server> {
  const { log, clock = systemClock } = options;
  await requireGates();
  await using made = new AsyncDisposableStack();
  const stack = made.use(new AsyncDisposableStack());
  const data = await openData({ config, log, clock, stack });
  const shared: ServerTools = { config, log, clock: data.clock, stack };
  const whole = new LateComposition(shared, data, (composition) => ports.serve(composition));
  const front = (name: keyof Apps) => {
    const app = async () => (await whole.now())[name] ?? noApp(name);
    return frontOf(app, () => clock.invocationId());
  };
  const ports: Listeners = made.use(await listen({ app: front("app"), publicApp: front("publicApp") }, shared));
  await keepServerKey(data.store.settings, data.api_key);
  whole.soon();
  const owned = made.move();
  const leave = async (): Promise<void> => {
    if (config.drainDelayMs === 0) return;
    for (const each of (await whole.now()).capabilities) each.leave?.();
    ports.leave();
    await new Promise<void>((resolve) => void clock.after(config.drainDelayMs, resolve));
  };
  const stop = async (graceMs: number): Promise<void> => {
    await end(whole, ports, clock, graceMs);
    await owned[Symbol.asyncDispose]();
  };
  const { url, public_url } = ports;
  const { composed } = whole;
  return { url, public_url, new_key: data.api_key.made, composed, leave, stop, [Symbol.asyncDispose]: () => stop(0) };
}

/** A port has its app if it is open. */
function noApp(name: keyof Apps): never {
  throw new Error(`There is no ${name}`);
}

/** Everything behind the ports. It is put together once, when it is needed. */
class LateComposition {
  readonly #shared: ServerTools;
  readonly #data: Data;
  readonly #serve: (composition: Composition) => void;
  readonly #composed = Promise.withResolvers<Composition>();
  #begun = false;
  #stopped = false;
  #started = false;
  /** Cancels what is to be done next. */
  #cancel: () => void = () => undefined;

  /** `serve` is called when it is put together. */
  constructor(shared: ServerTools, data: Data, serve: (composition: Composition) => void) {
    this.#shared = shared;
    this.#data = data;
    this.#serve = serve;
    // The error reaches those who wait for it.
    this.#composed.promise.catch(() => undefined);
  }

  get composed(): Promise<Composition> {
    return this.#composed.promise;
  }

  /** Puts it together when the first answers are out. */
  soon(): void {
    this.#cancel = this.#shared.clock.after(FIRST_ANSWERS_MS, () => void this.now());
  }

  /** Puts it together now, unless that was begun. */
  now(): Promise<Composition> {
    if (!this.#begun) {
      this.#begun = true;
      this.#cancel();
      this.#compose().then(this.#composed.resolve, this.#composed.reject);
    }
    return this.composed;
  }

  /** True if the work in the background has begun. */
  get started(): boolean {
    return this.#started;
  }

  /** Begins nothing more, and returns what was put together, if anything was. */
  async stopped(): Promise<Composition | undefined> {
    this.#stopped = true;
    this.#cancel();
    return this.#begun ? this.composed.catch(() => undefined) : undefined;
  }

  async #compose(): Promise<Composition> {
    // Most of the code, and with it most of the time.
    const { compose } = await import("./compose.ts");
    const composition = await compose(this.#shared, this.#data);
    const { capabilities } = composition;
    for (const each of capabilities) await each.prepare?.();
    this.#serve(composition);
    if (this.#stopped) return composition;
    this.#cancel = this.#shared.clock.after(FIRST_ANSWERS_MS, () => {
      this.#started = true;
      for (const each of capabilities) each.start?.();
    });
    return composition;
  }
}

async function end(whole: LateComposition, ports: Listeners, clock: Clock, graceMs: number): Promise<void> {
  const last = clock.monotonic() + graceMs;
  const answered = ports.close();
  const { capabilities = [], slowReaders } = (await whole.stopped()) ?? {};
  // Calls that wait for an engine that nobody has asked yet would only wait until the end of the grace.
  const drainMs = whole.started ? graceMs : 0;
  await Promise.all(capabilities.map(async (each) => each.drain?.(drainMs)));
  await Promise.race([answered, Bun.sleep(FLUSH_MS)]);
  await slowReaders?.settled(last - clock.monotonic());
}
