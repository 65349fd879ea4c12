import type { ExitFrame, GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { HTTP } from "../../../lib/runner/contracts/http.ts";
import type { FunctionRequest } from "../../../lib/domain/calls/http-message.ts";
import { plainRequest } from "../../../lib/domain/calls/http-message.ts";
import { type Function, FUNCTION_DEFAULTS } from "../../../lib/domain/functions/functions.ts";
import { NO_SECRETS } from "../../../lib/domain/secrets.ts";
import { BootedInstance } from "../../../lib/runner/instance/booted-instance.ts";
import type { Run } from "../../../lib/runner/instance/instance.ts";
import type { StreamCall } from "../../../lib/runner/instance/stream-exchange.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";
import { FakeChannel, said } from "./fake-channel.ts";

const READY = { type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" } as const;
const BOOTED = { type: "booted", bootUs: 5_000, address: "127.0.0.1", port: 8080, streams: 64 } as const;
const FUNCTION: Function = {
  ...FUNCTION_DEFAULTS,
  id: "0199c0de-0000-7000-8000-00000000000f",
  name: "web",
  image: "web",
  image_id: "sha256:1",
  digest: null,
  contract: "http",
  port: 8080,
  created_at: "2026-01-31T12:00:00.000Z",
  updated_at: "2026-01-31T12:00:00.000Z",
};

/** ENV, FILE and ENV_DEFAULT, which follow BOOT. */
const VARIABLES: ReadonlySet<number> = new Set([0x03, 0x04, 0x0b]);

/** A stream as the app sees it. */
interface AppStream {
  /** All that the server has sent. */
  received: string;
  /** True if the server has closed it. */
  closed: boolean;
  /** True if its connection may serve another stream. */
  kept: boolean;
  /** True if it was closed though the app may still be at its call. */
  abandoned: boolean;
  /** The limits of its call, in milliseconds; 0 for none. */
  readonly limits: { readonly withinMs: number; readonly mostMs: number };
}

/** A booted instance whose gate and app are played by the test. */
export class FakeApp {
  readonly clock = new FakeClock();
  readonly channel = new FakeChannel();
  readonly function: Function;
  readonly instance: BootedInstance;
  readonly streams = new Map<number, AppStream>();
  /** The frames that are about the instance, by their types. */
  readonly told: number[] = [];
  #read = 0;

  constructor(settings: Partial<Function> = {}, secrets = NO_SECRETS) {
    this.function = { ...FUNCTION, ...settings };
    this.instance = new BootedInstance(
      this.channel,
      this.clock,
      HTTP.plan(this.function, secrets, { log_bytes: 1_000 }),
    );
  }

  /** Sends frames of the gate in one chunk, and takes what the server writes then. */
  async say(...frames: readonly GateFrame[]): Promise<void> {
    this.channel.push(said(...frames));
    await this.heard();
  }

  /** Sends bytes of the app on a stream, and perhaps its end. */
  send(stream: number, text: string, ends = false): Promise<void> {
    const end: GateFrame = { type: "close", stream, ending: "end", errno: 0 };
    const data: GateFrame = { type: "data", stream, bytes: Buffer.from(text, "latin1") };
    return this.say(...(text === "" ? [] : [data]), ...(ends ? [end] : []));
  }

  /** Has the gate say its last word about a stream that the server has closed. */
  confirmEnd(stream: number): Promise<void> {
    return this.say({ type: "close", stream, ending: "reset", errno: 0 });
  }

  log(text: string): Promise<void> {
    return this.say({ type: "log", stream: "stdout", bytes: Buffer.from(text) });
  }

  exit(changes: Partial<ExitFrame> = {}): Promise<void> {
    return this.say(exitFrame(changes));
  }

  /** Lets the instance boot, with this output. */
  async boot(output = ""): Promise<this> {
    const ready = this.instance.ready(1_000, new AbortController().signal);
    await this.say(READY);
    if (output !== "") await this.log(output);
    await this.say(BOOTED);
    await ready;
    return this;
  }

  /** Hands the instance a call. */
  async call(request: Partial<FunctionRequest> = {}, changes: Partial<StreamCall> = {}): Promise<Run> {
    const call = { id: "0199c0de-0000-7000-8000-000000000001", function: this.function, secrets: NO_SECRETS };
    const whole = { ...plainRequest(new Uint8Array(0)), method: "GET", ...request };
    const exchange = await HTTP.exchange({ ...call, request: whole }, () => this.clock.now());
    return this.instance.serve({ ...exchange, timeout_ms: 1_000, signal: new AbortController().signal, ...changes });
  }

  /** Takes what the server has written. */
  async heard(): Promise<void> {
    await settled();
    const bytes = Buffer.concat(this.channel.written);
    while (this.#read < bytes.length) {
      const type = bytes.readUInt8(this.#read);
      const payload = bytes.subarray(this.#read + 5, this.#read + 5 + bytes.readUInt32BE(this.#read + 1));
      this.#read += 5 + payload.length;
      this.#hear(type, payload);
    }
  }

  /** The stream with this number: 1 is the first. */
  stream(count: number): AppStream {
    const stream = this.streams.get(2 * count);
    if (stream === undefined) throw new Error(`There is no stream ${count}`);
    return stream;
  }

  #hear(type: number, payload: Buffer): void {
    if (VARIABLES.has(type)) return;
    if (type < 0x06 || type > 0x09) return void this.told.push(type);
    const number = payload.readUInt32BE(0);
    if (type === 0x06) {
      const limits = { withinMs: payload.readUInt32BE(4), mostMs: payload.readUInt32BE(8) };
      this.streams.set(number, { received: "", closed: false, kept: false, abandoned: false, limits });
    }
    const stream = this.streams.get(number);
    if (stream === undefined) throw new Error(`A frame came for stream ${number}`);
    if (type === 0x07) stream.received += payload.toString("latin1", 4);
    if (type !== 0x09) return;
    stream.closed = true;
    stream.kept = payload[4] === 4;
    stream.abandoned = payload[4] === 5;
  }
}
