import type { PbfReader } from "pbf";

/** A piece of work of a build: a step of its Dockerfile, or one of the engine's own. */
export interface Vertex {
  readonly digest: string;
  readonly name: string;
  readonly cached: boolean;
  readonly started: boolean;
  readonly completed: boolean;
  /** Empty unless it has failed. */
  readonly error: string;
}

/** A part of the work of a vertex that is measured, such as a layer that is pulled. */
export interface VertexStatus {
  readonly id: string;
  readonly vertex: string;
  readonly completed: boolean;
}

/** Bytes that a vertex has printed. */
export interface VertexLog {
  readonly vertex: string;
  readonly bytes: Uint8Array;
}

/** One report of BuildKit: what has changed since the last one. */
export interface Trace {
  readonly vertexes: readonly Vertex[];
  readonly statuses: readonly VertexStatus[];
  readonly logs: readonly VertexLog[];
  readonly warnings: readonly string[];
}

/**
 * Reads a report: a `StatusResponse` of moby/buildkit, api/services/control/control.proto, whose field numbers these are.
 */
export function readTrace(reader: PbfReader): Trace {
  const [vertexes, statuses, logs, warnings]: [Vertex[], VertexStatus[], VertexLog[], string[]] = [[], [], [], []];
  reader.readFields((field) => {
    if (field === 1) vertexes.push(vertexOf(reader));
    else if (field === 2) statuses.push(statusOf(reader));
    else if (field === 3) logs.push(logOf(reader));
    else if (field === 4) warnings.push(warningOf(reader));
  }, undefined);
  return { vertexes, statuses, logs, warnings };
}

function vertexOf(reader: PbfReader): Vertex {
  const vertex = { digest: "", name: "", cached: false, started: false, completed: false, error: "" };
  return reader.readMessage((field) => {
    if (field === 1) vertex.digest = reader.readString();
    else if (field === 3) vertex.name = reader.readString();
    else if (field === 4) vertex.cached = reader.readBoolean();
    else if (field === 5) vertex.started = true;
    else if (field === 6) vertex.completed = true;
    else if (field === 7) vertex.error = reader.readString();
  }, vertex);
}

function statusOf(reader: PbfReader): VertexStatus {
  const status = { id: "", vertex: "", completed: false };
  return reader.readMessage((field) => {
    if (field === 1) status.id = reader.readString();
    else if (field === 2) status.vertex = reader.readString();
    else if (field === 8) status.completed = true;
  }, status);
}

function logOf(reader: PbfReader): VertexLog {
  const log: { vertex: string; bytes: Uint8Array } = { vertex: "", bytes: new Uint8Array() };
  return reader.readMessage((field) => {
    if (field === 1) log.vertex = reader.readString();
    else if (field === 4) log.bytes = reader.readBytes();
  }, log);
}

function warningOf(reader: PbfReader): string {
  const warning = { short: "" };
  reader.readMessage((field) => {
    if (field === 3) warning.short = Buffer.from(reader.readBytes()).toString();
  }, warning);
  return warning.short;
}
