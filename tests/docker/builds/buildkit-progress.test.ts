import { beforeEach, describe, expect, test } from "bun:test";
import { PbfWriter } from "pbf";
import type { BuildStep } from "../../../lib/domain/builds/builds.ts";
import { BuildKitProgress } from "../../../lib/docker/builds/buildkit-progress.ts";

let progress: BuildKitProgress;
let steps: BuildStep[];
let text: string;

beforeEach(() => {
  [steps, text] = [[], ""];
  progress = new BuildKitProgress({
    onStep: (step) => void steps.push(step),
    onText: (more) => void (text += more),
  });
});

interface GivenVertex {
  readonly digest: string;
  readonly name: string;
  readonly state?: "started" | "completed" | "cached";
  readonly error?: string;
}

/** Adds a line of the engine with one report. The field numbers are those of BuildKit's control.proto. */
function report(fill: (writer: PbfWriter) => void): void {
  const writer = new PbfWriter();
  fill(writer);
  progress.add({ id: "moby.buildkit.trace", aux: Buffer.from(writer.finish()).toString("base64") });
}

function vertexes(...given: readonly GivenVertex[]): void {
  report((writer) => {
    for (const vertex of given) writer.writeMessage(1, writeVertex, vertex);
  });
}

function writeVertex({ digest, name, state, error }: GivenVertex, writer: PbfWriter): void {
  const time = (_: unknown, inner: PbfWriter) => inner.writeVarintField(1, 1_795_865_783);
  writer.writeStringField(1, digest);
  writer.writeStringField(2, "sha256:another-vertex");
  writer.writeStringField(3, name);
  if (state === "cached") writer.writeBooleanField(4, true);
  if (state !== undefined) writer.writeMessage(5, time, undefined);
  if (state === "completed" || state === "cached") writer.writeMessage(6, time, undefined);
  if (error !== undefined) writer.writeStringField(7, error);
}

function log(vertex: string, bytes: Uint8Array): void {
  report((writer) =>
    writer.writeMessage(
      3,
      (_, inner) => {
        inner.writeStringField(1, vertex);
        inner.writeVarintField(3, 1);
        inner.writeBytesField(4, bytes);
      },
      undefined,
    ),
  );
}

const words = (vertex: string, said: string) => log(vertex, Buffer.from(said));

describe("BuildKitProgress", () => {
  test("numbers steps as they start, names the one whose output comes, and leaves out the engine's own work", () => {
    vertexes(
      { digest: "c", name: "[internal] load remote build context", state: "started" },
      { digest: "m", name: "[internal] load metadata for docker.io/library/busybox:1", state: "started" },
      { digest: "a", name: "[one 2/2] RUN make one" },
      { digest: "b", name: "[stage-1 2/3] RUN make two" },
      { digest: "f", name: "[one 1/2] FROM docker.io/library/busybox:1", state: "cached" },
    );
    vertexes({ digest: "a", name: "[one 2/2] RUN make one", state: "started" });
    words("a", "half");
    vertexes({ digest: "b", name: "[stage-1 2/3] RUN make two", state: "cached" });
    words("a", " a line\n");
    words("a", "another\n");
    expect(text).toBe(
      [
        "load metadata for docker.io/library/busybox:1",
        "Step 1/3 : FROM docker.io/library/busybox:1",
        "Step 2/3 : RUN make one",
        "half",
        "Step 3/3 : RUN make two",
        " ---> Using cache",
        "Step 2/3 : RUN make one",
        " a line",
        "another",
        "",
      ].join("\n"),
    );
    expect(steps.map(({ number, total }) => [number, total])).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  test("ends with the step that failed, not with one that was cancelled for it", () => {
    const [one, two] = ["[1/2] RUN make one", "[2/2] RUN make two"];
    vertexes({ digest: "a", name: one, state: "started" }, { digest: "b", name: two, state: "started" });
    vertexes({ digest: "a", name: one, state: "completed", error: "exit code: 3" });
    vertexes({ digest: "b", name: two, state: "completed", error: "process did not complete: context canceled" });
    progress.add({ error: "failed to solve: process did not complete successfully: exit code: 3" });
    expect(steps.at(-1)).toEqual({ number: 1, total: 2, instruction: "RUN make one" });
    expect(progress.error).toBe("process did not complete successfully: exit code: 3");
  });

  test("says which file is missing without the engine's own names", () => {
    progress.add({
      error:
        'failed to solve: failed to compute cache key: failed to calculate checksum of ref x1::y2: "/no.txt": not found',
    });
    expect(progress.error).toBe('"/no.txt": not found');
  });

  test("has whole characters of output that comes in pieces", () => {
    vertexes({ digest: "a", name: "[1/1] RUN say", state: "started" });
    const bytes = Buffer.from("größer\n");
    for (const byte of bytes) log("a", Buffer.from([byte]));
    expect(text).toBe("Step 1/1 : RUN say\ngrößer\n");
  });

  test("shows layers once they are there, and warnings", () => {
    vertexes({ digest: "f", name: "[1/1] FROM busybox", state: "started" });
    const layer = (isDone: boolean) =>
      report((writer) =>
        writer.writeMessage(
          2,
          (_, inner) => {
            inner.writeStringField(1, "sha256:0123");
            inner.writeStringField(2, "f");
            if (isDone) inner.writeMessage(8, (__, time) => time.writeVarintField(1, 1), undefined);
          },
          undefined,
        ),
      );
    layer(false);
    layer(true);
    layer(true);
    report((writer) =>
      writer.writeMessage(4, (_, inner) => inner.writeBytesField(3, Buffer.from("MaintainerDeprecated")), undefined),
    );
    expect(text).toBe("Step 1/1 : FROM busybox\nsha256:0123: done\nWARNING: MaintainerDeprecated\n");
  });

  test("ignores lines that are none of its own", () => {
    for (const line of [null, "text", {}, { id: "moby.image.id", aux: { ID: "sha256:1" } }]) progress.add(line);
    expect([text, progress.error]).toEqual(["", undefined]);
  });
});
