/**
 * Thrown for an answer that breaks HTTP/1.1. The message goes on after `The function's answer cannot be used, as it`, and has no part of that
 * answer: what a function sends may be a secret.
 */
export class MalformedResponse extends Error {
  override readonly name = "MalformedResponse";
}
