import { describe, expect, test } from "bun:test";
import { stagesUpTo, withLabel, withOriginalLines } from "../../../lib/domain/builds/dockerfile.ts";

const label = (text: string) => withLabel(text, "k", "v");

describe("withLabel", () => {
  test.each([
    ["FROM a", "FROM a\nLABEL k=v"],
    ["FROM a\nRUN b\n", "FROM a\nLABEL k=v\nRUN b\n"],
    [
      "ARG X=1\nfrom --platform=$X a:${X} as B\nCOPY . .",
      "ARG X=1\nfrom --platform=$X a:${X} as B\nLABEL k=v\nCOPY . .",
    ],
    ["FROM a AS one\nFROM one\nCMD x", "FROM a AS one\nLABEL k=v\nFROM one\nLABEL k=v\nCMD x"],
    ["FROM \\\n  a\nRUN b", "FROM \\\n  a\nLABEL k=v\nRUN b"],
    ["FROM \\\n# a comment\n\n  a AS \\ \n  b\nRUN c", "FROM \\\n# a comment\n\n  a AS \\ \n  b\nLABEL k=v\nRUN c"],
    [
      "# escape=`\nFROM a `\n AS b\nRUN c \\\nFROM d",
      "# escape=`\nFROM a `\n AS b\nLABEL k=v\nRUN c \\\nFROM d\nLABEL k=v",
    ],
    ["# syntax=x\n# escape=`\nFROM a", "# syntax=x\n# escape=`\nFROM a\nLABEL k=v"],
    ["# no directive\n# escape=`\nFROM a\\\n", "# no directive\n# escape=`\nFROM a\\\n\nLABEL k=v"],
    ["\uFEFFFROM a\r\nRUN b\r\n", "FROM a\r\nLABEL k=v\nRUN b\r\n"],
    ["RUN echo \\\nFROM a", "RUN echo \\\nFROM a"],
    ["ONBUILD COPY FROM a", "ONBUILD COPY FROM a"],
    ["FROMAGE a", "FROMAGE a"],
    ["", ""],
  ])("of %j is %j", (before, after) => expect(label(before).text).toBe(after));

  test("lists the stages, and the lines that it has added", () => {
    const { stages, added } = label("ARG V\nFROM --platform=linux/amd64 a:$V AS Build\nRUN x\nFROM scratch\n");
    expect(stages).toEqual([
      { from: "a:$V", name: "build" },
      { from: "scratch", name: undefined },
    ]);
    expect(added).toEqual([3, 6]);
  });
});

test.each([
  [null, 3],
  ["build", 1],
  ["BUILD", 1],
  ["last", 3],
  ["1", 2],
  ["7", 3],
  ["other", 3],
])("stagesUpTo(%j) is %j", (target, count) => {
  const { stages } = label("FROM a AS build\nFROM b\nFROM c AS last");
  expect(stagesUpTo(target, stages)).toBe(count);
});

test.each([
  ["dockerfile parse error line 1: x", "dockerfile parse error line 1: x"],
  [
    "dockerfile parse error line 4: unknown instruction: FOO",
    "dockerfile parse error line 3: unknown instruction: FOO",
  ],
  ["dockerfile parse error on line 8: x", "dockerfile parse error on line 6: x"],
  ["line 4 of something else", "line 4 of something else"],
])("withOriginalLines of %j is %j", (words, shown) => expect(withOriginalLines(words, [2, 6])).toBe(shown));
