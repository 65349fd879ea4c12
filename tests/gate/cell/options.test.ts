import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { scratch, type Scratch } from "../support/gate-process.ts";

/** Takes each word as an option, and prints the setting, or the first word that is none. */
const MAIN = `
  #include "cell.h"
  #include <stdio.h>
  int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
      if (!take_cell_option(argv[i])) return printf("refused %d", i - 1) < 0;
    const struct cell_setting *of = &cell_setting;
    printf("%d %llu %s %u:%u", of->wanted, (unsigned long long)of->scratch, of->context == NULL ? "" : of->context, of->uid, of->gid);
    for (int i = 0; i < of->group_count; i++) printf(":%u", of->groups[i]);
    printf(" %llx %d", (unsigned long long)of->dropped, of->shares_network);
    for (int i = 0; i < of->without_count; i++) printf(" %s", of->without[i]);
    return 0;
  }`;

let here: Scratch;

beforeAll(async () => {
  here = await scratch();
  const cell = `${import.meta.dir}/../../../lib/gate/cell`;
  await Bun.write(`${here.path}/main.c`, MAIN);
  await Bun.$`gcc -std=c11 -I ${cell} -o ${here.path}/take ${here.path}/main.c ${cell}/options.c`.quiet();
});

afterAll(() => here[Symbol.asyncDispose]());

/** Returns what a gate makes of these options; a sanitizer's report, or a crash, throws. */
async function taken(words: readonly string[]): Promise<string> {
  return Bun.$`${here.path}/take ${words}`.text();
}

const id = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const path = fc.stringMatching(/^\/[!-~]{0,40}$/);

interface Setting {
  readonly scratch: bigint;
  readonly context: string;
  readonly ids: readonly number[];
  readonly dropped: bigint;
  readonly shared: boolean;
  readonly without: readonly string[];
}

const setting: fc.Arbitrary<Setting> = fc.record({
  scratch: fc.bigInt({ min: 0n, max: 1n << 50n }),
  context: path,
  ids: fc.array(id, { minLength: 2, maxLength: 514 }),
  dropped: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  shared: fc.boolean(),
  without: fc.array(path, { maxLength: 256 }),
});

function wordsOf({ scratch: bytes, context, ids, dropped, shared, without }: Setting) {
  const words = [
    `--cell=${bytes}`,
    `--context=${context}`,
    `--user=${ids.join(":")}`,
    `--drop=${dropped.toString(16)}`,
  ];
  return [...words, ...(shared ? ["--network=shared"] : []), ...without.map((one) => `--without=${one}`)];
}

test("a gate takes every setting of cells as the server writes it, in any order", async () => {
  await fc.assert(
    fc.asyncProperty(
      setting.chain((of) =>
        fc.tuple(fc.constant(of), fc.shuffledSubarray(wordsOf(of), { minLength: wordsOf(of).length })),
      ),
      async ([of, words]) => {
        const without = words.filter((word) => word.startsWith("--without=")).map((word) => word.slice(10));
        const rest = [of.dropped.toString(16), of.shared ? 1 : 0, ...without].join(" ");
        expect(await taken(words)).toBe(`1 ${of.scratch} ${of.context} ${of.ids.join(":")} ${rest}`);
      },
    ),
    { numRuns: 60 },
  );
});

/** Strings that are not the number of an option: empty, signed, in another base, too large, or with something behind it. */
const noNumber = fc.constantFrom("", " 1", "-1", "+1", "0x1", "1 ", "1,", "g", "1g", "99999999999999999999", "\u00b2");

test.each<readonly [string, fc.Arbitrary<string>]>([
  ["--cell without a number", noNumber.map((word) => `--cell=${word}`)],
  ["--cell beyond what memory can be", fc.bigInt({ min: (1n << 50n) + 1n, max: 1n << 64n }).map((n) => `--cell=${n}`)],
  ["--drop without a number", noNumber.map((word) => `--drop=${word}`)],
  ["--drop of more than 64 bits", fc.bigInt({ min: 1n << 64n, max: 1n << 80n }).map((n) => `--drop=${n.toString(16)}`)],
  ["--user without a group", id.map((uid) => `--user=${uid}`)],
  [
    "--user with an id that engines do not take",
    fc.integer({ min: 2 ** 31, max: 2 ** 40 }).map((n) => `--user=0:0:${n}`),
  ],
  [
    "--user with what is no number",
    fc.tuple(id, noNumber, id).map(([uid, gid, group]) => `--user=${uid}:${gid}:${group}`),
  ],
  ["--user with a name", fc.constantFrom("--user=root:0", "--user=0:root", "--user=0:0:", "--user=:0:0")],
  ["--user with too many groups", fc.constant(`--user=${Array.from({ length: 515 }, () => 1).join(":")}`)],
  ["a relative --context", fc.constantFrom("--context=", "--context=tmp")],
  ["an unknown word", fc.constantFrom("--", "sh", "--cell", "--network=host", "--cells=1", "-c", "")],
])("a gate takes no option that is %s", async (_, words) => {
  await fc.assert(
    fc.asyncProperty(words, async (word) => {
      expect(await taken(["--cell=1048576", word])).toBe("refused 1");
    }),
    { numRuns: 12 },
  );
});

test("a gate takes 256 mounts that no cell has, and no more", async () => {
  const words = Array.from({ length: 257 }, (__, index) => `--without=/${index}`);
  expect(await taken(words.slice(0, 256))).toEndWith(" /255");
  expect(await taken(words)).toBe("refused 256");
});
