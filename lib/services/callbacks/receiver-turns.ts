import { CALLBACK } from "../../domain/limits.ts";
import type { WaitingReceiver } from "../../store/ledger.ts";

/**
 * Gives turns to the receivers of callbacks: each has so many deliveries under way at once, and the one whose last turn is
 * longest ago comes first. So receivers that hang cannot keep others waiting, however much waits for them.
 */
export class ReceiverTurns {
  readonly #underWay = new Map<string, number>();
  /** The number of the last turn of each receiver that something waits for. */
  readonly #last = new Map<string, number>();
  #turn = 0;

  /** Returns the receivers that have a turn now, the next one first. */
  order(waiting: readonly WaitingReceiver[], now: number): string[] {
    const known = new Set(waiting.map(({ receiver }) => receiver));
    for (const receiver of this.#last.keys()) if (!known.has(receiver)) this.#last.delete(receiver);
    const lastOf = ({ receiver }: WaitingReceiver) => this.#last.get(receiver) ?? 0;
    return waiting
      .filter(({ receiver, due }) => due <= now && this.hasRoom(receiver))
      .toSorted((a, b) => lastOf(a) - lastOf(b) || a.due - b.due)
      .map(({ receiver }) => receiver);
  }

  /** Returns whether another delivery to a receiver may be under way. */
  hasRoom(receiver: string): boolean {
    return (this.#underWay.get(receiver) ?? 0) < CALLBACK.to_one_receiver;
  }

  /** Notes that a delivery to a receiver is under way, until the returned function is called. */
  begin(receiver: string): () => void {
    this.#last.set(receiver, ++this.#turn);
    this.#underWay.set(receiver, (this.#underWay.get(receiver) ?? 0) + 1);
    return () => {
      const left = (this.#underWay.get(receiver) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(receiver);
      else this.#underWay.set(receiver, left);
    };
  }
}
