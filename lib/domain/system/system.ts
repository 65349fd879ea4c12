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
  warning: Type.Optional(Type.String({ description: "A risk in a part that works, and how to remove it." })),
};

/** One of the servers that share a database. */
const ClusterServer = Type.Object({
  id: Type.String({ description: "Its `SERVER_ID`.", examples: ["node-1"] }),
  url: Nullable(
    Type.String({
      description: "The address at which the others reach it (`ADVERTISE_URL`).",
      examples: ["http://10.0.0.5:9999"],
    }),
  ),
  version: Type.String({ description: "The version of Slipway that it runs.", examples: ["1.0.0"] }),
  engine: Nullable(
    Type.String({
      description:
        "The id of its engine. Servers with the same one have the same images. Null if it is not known yet, or the engine has none.",
      examples: ["9f3c1f0e-6f0b-4d3c-8a55-0d1b5a5a7c11"],
    }),
  ),
  heartbeat_age_ms: Type.Integer({ description: "The time since it has last reported itself.", examples: [1200] }),
  living: Type.Boolean({
    description:
      "Whether it has reported itself in the last 10 seconds. The others give up its share of limits, and pass no calls on to it, if it has not.",
    examples: [true],
  }),
  ready: Type.Integer({ description: "Calls that its ready instances could serve at once.", examples: [5] }),
});

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
  servers: Nullable(
    Type.Array(ClusterServer, {
      description:
        "The servers of the last day that share the database (`DATABASE_URL`), this one among them, by id. Null without such a database, and while it does not answer.",
    }),
  ),
});
export type SystemState = Static<typeof SystemState>;
