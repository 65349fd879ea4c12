import { expect, test } from "bun:test";
import { KnownAnswers } from "../../../lib/docker/images/known-answers.ts";

test("KnownAnswers asks once for each key, for all that wait, and again after a failure or beyond its limit", async () => {
  const known = new KnownAnswers<string>(2);
  const asked: string[] = [];
  const ask = (key: string) =>
    known.get(key, async () => {
      asked.push(key);
      if (asked.length === 1) throw new Error("away");
      return key.toUpperCase();
    });
  const failed = await Promise.allSettled([ask("a"), ask("a")]);
  expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await Promise.all([ask("a"), ask("a"), ask("b")])).toEqual(["A", "A", "B"]);
  expect(await ask("a")).toBe("A");
  expect(asked).toEqual(["a", "a", "b"]);
  await ask("c");
  await ask("a");
  expect(asked).toEqual(["a", "a", "b", "c", "a"]);
});
