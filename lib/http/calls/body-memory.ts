import type { Clock } from "../../clock.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import type { ReadBody } from "../wire/body.ts";

/** Bodies from this size on count for their client, too. Counting takes longer than a small body is worth. */
const COUNTED_BYTES = 64 * 1024;
/** The part of the budget that one client may have. */
const OF_CLIENT = 0.5;
/** The time between two looks for answers that are out, in milliseconds. */
const LOOK_MS = 500;
/** The time after which a client may try again, in seconds. */
const RETRY_AFTER_S = 2;

/** Returns the most bytes that a request's body may turn out to have; 0 for one that will be refused for its length. */
export function expectedBytes(request: Request, limitBytes: number): number {
  const announced = request.headers.get("content-length");
  if (announced === null) return request.body === null ? 0 : limitBytes;
  return Number(announced) > limitBytes ? 0 : Number(announced);
}

/** Room for a body. */
export interface Room {
  bytes: number;
  /** The client that it counts for; undefined for a small body. */
  readonly client: string | undefined;
}

/** An answer on its way to its reader. */
interface Sending {
  readonly room: Room;
  readonly isOut: () => boolean;
}

/**
 * The memory for the bodies of all requests and answers: those that are read, that wait for an instance, that a function
 * works on, and that a reader takes. Room is taken before a body is read.
 */
export class BodyMemory implements Disposable {
  readonly #budget: number;
  readonly #clients = new Map<string, number>();
  readonly #sending = new Set<Sending>();
  readonly #nextLook: Alarm;
  #used = 0;

  constructor({ clock, budget }: { readonly clock: Clock; readonly budget: number }) {
    this.#budget = budget;
    this.#nextLook = new Alarm(clock, () => this.#look());
  }

  /** The bytes that are taken. */
  get used(): number {
    return this.#used;
  }

  /** True if all of it is taken. */
  get isFull(): boolean {
    if (this.#used >= this.#budget) this.#sweep();
    return this.#used >= this.#budget;
  }

  /** Counts a body for which there need not be room; the returned function gives it back. */
  hold(bytes: number): () => void {
    const room: Room = { bytes, client: undefined };
    this.#used += bytes;
    return () => this.release(room);
  }

  /** Takes room for a body. Throws `overloaded` if there is none, or the client has its part already. */
  take(bytes: number, client: () => string): Room {
    if (this.#used + bytes > this.#budget) this.#sweep();
    if (this.#used + bytes > this.#budget) throw full(bytes, this.#budget, "all clients");
    if (bytes < COUNTED_BYTES) return this.count(bytes, client);
    const name = client();
    if (this.#takenBy(name) + bytes > this.#budget * OF_CLIENT) this.#sweep();
    const before = this.#takenBy(name);
    if (before > 0 && before + bytes > this.#budget * OF_CLIENT) {
      throw full(bytes, this.#budget * OF_CLIENT, "one client");
    }
    return this.count(bytes, () => name);
  }

  /** Takes room for a body that there is already, whether it fits or not. */
  count(bytes: number, client: () => string): Room {
    this.#used += bytes;
    if (bytes < COUNTED_BYTES) return { bytes, client: undefined };
    const name = client();
    this.#clients.set(name, this.#takenBy(name) + bytes);
    return { bytes, client: name };
  }

  /** Gives back a part of the room: the body is smaller than it could have been. */
  shrink(room: Room, bytes: number): void {
    this.#change(room, Math.min(0, bytes - room.bytes));
  }

  /** Gives back all of it. */
  release(room: Room): void {
    this.#change(room, -room.bytes);
  }

  /** Gives it back once the answer is out. */
  releaseWhenOut(room: Room, isOut: () => boolean): void {
    this.#sending.add({ room, isOut });
    this.#nextLook.setSooner(LOOK_MS);
  }

  [Symbol.dispose](): void {
    this.#nextLook[Symbol.dispose]();
  }

  #look(): void {
    this.#sweep();
    if (this.#sending.size > 0) this.#nextLook.setSooner(LOOK_MS);
  }

  #sweep(): void {
    for (const sending of this.#sending) {
      if (!sending.isOut()) continue;
      this.#sending.delete(sending);
      this.release(sending.room);
    }
  }

  #takenBy(client: string): number {
    return this.#clients.get(client) ?? 0;
  }

  #change(room: Room, by: number): void {
    room.bytes += by;
    this.#used += by;
    if (room.client === undefined) return;
    const left = this.#takenBy(room.client) + by;
    if (left > 0) this.#clients.set(room.client, left);
    else this.#clients.delete(room.client);
  }
}

function full(bytes: number, budget: number, whose: string): AppError {
  return new AppError(
    "overloaded",
    `No room for a body of ${bytes} bytes: those of ${whose} take ${budget} bytes at most (BODY_MEMORY), try again in a moment`,
    { retry_after_s: RETRY_AFTER_S },
  );
}

/** Makes a reader of bodies that takes room for each before it reads it, and gives it back when it has. */
export function readerWithin(
  memory: Pick<BodyMemory, "take" | "release">,
  readBody: ReadBody,
  clientOf: (request: Request) => string,
): ReadBody {
  return async (request, limitBytes) => {
    const room = memory.take(expectedBytes(request, limitBytes), () => clientOf(request));
    try {
      return await readBody(request, limitBytes);
    } finally {
      memory.release(room);
    }
  };
}
