/** Thrown by `serve` if nothing has reached the function: the same call may go to another instance. */
export class NotDelivered extends Error {
  override readonly name = "NotDelivered";
}
