import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Duplex } from "node:stream";
import { type EngineConnection, EngineError, isEngineStatus } from "./connection.ts";

/** The label that says which server a container belongs to: a random id kept in its database. */
export const OWNER_LABEL = "slipway.owner";
/** The label that names the function a container runs. */
export const FUNCTION_LABEL = "slipway.function";
/** The beginning of the name of every container of ours. */
export const NAME_PREFIX = "slipway-";

const Created = Type.Object({ Id: Type.String({ minLength: 1 }) });
const Listed = Type.Array(
  Type.Object({
    Id: Type.String({ minLength: 1 }),
    Names: Type.Union([Type.Array(Type.String()), Type.Null()]),
    State: Type.String(),
    Labels: Type.Union([Type.Record(Type.String(), Type.String()), Type.Null()]),
  }),
);

/** The body of `POST /containers/create`. */
export type ContainerSpec = Readonly<Record<string, unknown>>;

/** A container in a list. */
export interface ListedContainer {
  readonly id: string;
  readonly name: string;
  readonly state: string;
}

/** The engine's containers. A request that fails throws `EngineError` or `engine_unavailable`. */
export class Containers {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  async create(name: string, spec: ContainerSpec): Promise<string> {
    const reply = await this.#connection.request({
      operation: "container create",
      method: "POST",
      path: "/containers/create",
      query: { name },
      body: spec,
    });
    if (!Value.Check(Created, reply.body)) throw new EngineError("container create", reply.status, "unexpected reply");
    return reply.body.Id;
  }

  /** Starts a container. If the signal aborts, the wait ends; the engine may go on. */
  async start(id: string, signal: AbortSignal): Promise<void> {
    await this.#connection.request({
      operation: "container start",
      method: "POST",
      path: `/containers/${encodeURIComponent(id)}/start`,
      signal,
    });
  }

  /** Opens the stream of a container's stdin and stdout. Close it before any other request about that container. */
  attach(id: string): Promise<Duplex> {
    return this.#connection.attach(id);
  }

  /** Ends a container and removes it with its anonymous volumes. It may be gone, or going, already. */
  async remove(id: string): Promise<void> {
    try {
      await this.#remove(id);
    } catch (error) {
      if (!isEngineStatus(error, 409, 500)) throw error;
      // A paused container cannot be killed: the engine refuses, or its freezer keeps the signal pending.
      await this.#unpause(id);
      await this.#remove(id);
    }
  }

  async #remove(id: string): Promise<void> {
    try {
      await this.#connection.request({
        operation: "container remove",
        method: "DELETE",
        path: `/containers/${encodeURIComponent(id)}`,
        query: { force: 1, v: 1 },
      });
    } catch (error) {
      if (isEngineStatus(error, 404)) return;
      if (isEngineStatus(error, 409) && /removal of container .* is already in progress/i.test(error.message)) return;
      throw error;
    }
  }

  async #unpause(id: string): Promise<void> {
    try {
      await this.#connection.request({
        operation: "container unpause",
        method: "POST",
        path: `/containers/${encodeURIComponent(id)}/unpause`,
      });
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
    }
  }

  /** Lists all containers, running or not, with the owner's label and our name prefix: a label alone can come from an image. */
  async listOwned(owner: string): Promise<ListedContainer[]> {
    return (await this.listLabelled(owner)).filter(({ name }) => name.startsWith(NAME_PREFIX));
  }

  /** Lists all containers, running or not, with the owner's label, whatever their names. */
  async listLabelled(owner: string): Promise<ListedContainer[]> {
    const reply = await this.#connection.request({
      operation: "container list",
      method: "GET",
      path: "/containers/json",
      query: { all: 1, filters: JSON.stringify({ label: [`${OWNER_LABEL}=${owner}`] }) },
    });
    if (!Value.Check(Listed, reply.body)) throw new EngineError("container list", reply.status, "unexpected reply");
    const containers: ListedContainer[] = [];
    for (const { Id, Names, State, Labels } of reply.body) {
      const name = Names?.[0]?.replace(/^\//, "") ?? "";
      if (Labels?.[OWNER_LABEL] === owner) containers.push({ id: Id, name, state: State });
    }
    return containers;
  }

  /** Returns the size of a file in a container, or nothing if it does not exist. */
  async fileSize(id: string, path: string): Promise<number | undefined> {
    try {
      const reply = await this.#connection.request({
        operation: "container stat",
        method: "HEAD",
        path: `/containers/${encodeURIComponent(id)}/archive`,
        query: { path },
      });
      const stat = reply.headers["x-docker-container-path-stat"];
      const parsed: unknown = JSON.parse(Buffer.from(String(stat), "base64").toString());
      return parsed !== null && typeof parsed === "object" && "size" in parsed ? Number(parsed.size) : undefined;
    } catch (error) {
      if (isEngineStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Returns a file of a container as a tar archive of at most so many bytes. */
  pack(id: string, path: string, limitBytes: number): Promise<Buffer> {
    return this.#connection.bytes(
      {
        operation: "container pack",
        method: "GET",
        path: `/containers/${encodeURIComponent(id)}/archive`,
        query: { path },
      },
      limitBytes,
    );
  }

  /** Unpacks a tar archive into a directory of a container. */
  async unpack(id: string, path: string, archive: Buffer): Promise<void> {
    await this.#connection.request({
      operation: "container unpack",
      method: "PUT",
      path: `/containers/${encodeURIComponent(id)}/archive`,
      query: { path },
      archive,
    });
  }
}
