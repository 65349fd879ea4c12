import { type Static, Type } from "@sinclair/typebox";
import { Enum, Nullable } from "../types.ts";

const budget = (description: string, used: number, limit: number) =>
  Type.Object(
    {
      used: Type.Number({ description: "What is taken now.", examples: [used] }),
      limit: Type.Number({ description: "The most that may be taken.", examples: [limit] }),
    },
    { description },
  );
const MIB = 1024 ** 2;

/** Something of the engine that has our label and that this server does not know. */
export const Unowned = Type.Object({
  kind: Enum(["container", "image", "network", "volume"], {
    description: "The kind of thing.",
    examples: ["volume"],
  }),
  name: Type.String({
    description: "The engine's name of it; the id of an image that has none.",
    examples: ["uploads"],
  }),
  problem: Type.String({
    description: "The reason why it has no owner, and what to do.",
    examples: ["No function names this volume: remove it with `docker volume rm` if nobody needs what is in it"],
  }),
});
export type Unowned = Static<typeof Unowned>;

const Check = {
  ok: Type.Boolean({ examples: [true] }),
  problem: Nullable(Type.String({ description: "The cause and how to fix it." })),
};

/** The answer of `GET /v1/system`. */
export const SystemState = Type.Object({
  engine: Type.Object(Check, { description: "Whether functions can be started." }),
  database: Type.Object(
    { ...Check, bytes: Type.Integer({ description: "Its size on the disk, with its log.", examples: [12 * MIB] }) },
    { description: "Whether it can be read and written." },
  ),
  budgets: Type.Object(
    {
      instances: budget("Instances of all functions (`MAX_INSTANCES`).", 3, 24),
      memory_bytes: budget("The memory limits of all instances together (`MEMORY_BUDGET`).", 768 * MIB, 6144 * MIB),
      waiting_calls: budget("Calls that wait for a place among the running instances (`QUEUE_LIMIT`).", 0, 1000),
      body_bytes: budget("Bodies in the server's memory (`BODY_MEMORY`).", 0, 1024 * MIB),
      queue_bytes: budget("Requests and results in the database (`QUEUE_BYTES`).", 4 * MIB, 2048 * MIB),
    },
    { description: "What is limited, and how much of it is taken." },
  ),
  unowned: Nullable(
    Type.Array(Unowned, {
      description:
        "Containers, images, networks and volumes of the engine that have this server's label and that it does not know; at most " +
        "a few seconds old. Null while the engine cannot be asked.",
    }),
  ),
});
export type SystemState = Static<typeof SystemState>;
