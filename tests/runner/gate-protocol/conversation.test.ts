import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { GateConversation } from "../../../lib/runner/gate-protocol/conversation.ts";
import {
  PAYLOAD_BYTES,
  ProtocolError,
  type ExitFrame,
  type GateFrame,
} from "../../../lib/runner/gate-protocol/frames.ts";
import { encodeGateFrame, exitFrame } from "../../gate/support/gate-frames.ts";

const request = {
  id: "i",
  contextRoot: "/c",
  timeoutMs: 1,
  graceMs: 1,
  responseLimit: 6,
  logLimit: 4,
  again: false,
  bodyFile: false,
};
const ready = { type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" } as const;
const expired = { type: "expired" } as const;
const failed = { type: "failed", stage: "exec", errno: 2 } as const;
const log = (text: string) => ({ type: "log", stream: "stdout", bytes: Buffer.from(text) }) as const;
const meta = (text: string) => ({ type: "meta", bytes: Buffer.from(text) }) as const;
const response = (text: string) => ({ type: "response", bytes: Buffer.from(text) }) as const;
const exit = (responseBytes: number, metaBytes = 0): ExitFrame =>
  exitFrame({
    logDroppedBytes: 5,
    metaState: metaBytes > 0 ? "fine" : "missing",
    metaBytes,
    responseState: "fine",
    responseBytes,
  });

/** Hands the frames over in one chunk; returns the resulting events. */
function say(conversation: GateConversation, ...frames: GateFrame[]): GateFrame[] {
  return [...conversation.push(Buffer.concat(frames.map(encodeGateFrame)))];
}

function called(): GateConversation {
  const conversation = new GateConversation();
  say(conversation, ready);
  conversation.call(request, Buffer.alloc(0));
  return conversation;
}

test("GateConversation goes through a call and hands over the response", () => {
  const conversation = new GateConversation();
  expect(conversation.state).toBe("starting");
  say(conversation, ready);
  expect(conversation.state).toBe("ready");
  conversation.call(request, Buffer.alloc(0));
  expect(conversation.state).toBe("called");
  const frames = [log("ab"), log("cd"), expired, exit(4), response('{"a'), response("}")];
  expect(say(conversation, ...frames.slice(0, 4))).toEqual(frames.slice(0, 4));
  expect(conversation).toMatchObject({ state: "answering", expired: true });
  say(conversation, ...frames.slice(4));
  expect(conversation.state).toBe("over");
  expect(Buffer.from(conversation.response).toString()).toBe('{"a}');
  conversation.end();
});

test("GateConversation is over at an EXIT without a response, and at FAILED", () => {
  for (const last of [exit(0), failed]) {
    const conversation = called();
    say(conversation, last);
    expect(conversation.state).toBe("over");
    expect(conversation.response.length).toBe(0);
    conversation.end();
  }
});

test("GateConversation hands over META, with a response and without", () => {
  for (const frames of [
    [exit(2, 3), meta("{ }"), response("[]")],
    [exit(0, 3), meta("{ }")],
  ]) {
    const conversation = called();
    say(conversation, ...frames.slice(0, 1));
    expect(conversation.state).toBe("answering");
    say(conversation, ...frames.slice(1));
    expect(conversation.state).toBe("over");
    expect(Buffer.from(conversation.meta).toString()).toBe("{ }");
    expect(conversation.response.length).toBe(frames.length === 3 ? 2 : 0);
  }
});

describe("GateConversation of a call that another may follow", () => {
  const again = { ...request, again: true };

  function calledAgain(): GateConversation {
    const conversation = new GateConversation();
    say(conversation, ready);
    conversation.call(again, Buffer.alloc(0));
    return conversation;
  }

  test("waits for READY after the answer, and begins again with it", () => {
    const conversation = calledAgain();
    say(conversation, log("abcd"), exit(2), response("[]"));
    expect(conversation).toMatchObject({ state: "resetting", answered: true });
    expect(() => conversation.call(again, Buffer.alloc(0))).toThrow("Cannot call a gate that is resetting");
    expect(() => conversation.end()).toThrow(ProtocolError);
    say(conversation, ready);
    expect(conversation).toMatchObject({ state: "ready", answered: false });
    conversation.call({ ...again, logLimit: 2, responseLimit: 1 }, Buffer.alloc(0));
    expect(conversation.response.length).toBe(0);
    expect(() => say(conversation, log("abc"))).toThrow("LOG frames hold more than the limit");
  });

  test("is over after EXPIRED and after FAILED", () => {
    for (const frames of [[expired, exit(0)], [expired, exit(1), response("1")], [failed], [expired, failed]]) {
      const conversation = calledAgain();
      say(conversation, ...frames);
      expect(conversation.state).toBe("over");
      expect(() => say(conversation, ready)).toThrow(ProtocolError);
    }
  });

  test("is over if the next READY has another version", () => {
    const conversation = calledAgain();
    say(conversation, exit(0), { type: "ready", version: 4 });
    expect(conversation.state).toBe("over");
  });

  test.each<GateFrame>([log("a"), expired, exit(0), response("a"), failed])("refuses $type before READY", (frame) => {
    expect(() => say(calledAgain(), exit(0), frame)).toThrow(ProtocolError);
  });
});

test("GateConversation reports a READY of another version, and such a gate cannot be called", () => {
  const conversation = new GateConversation();
  expect(say(conversation, { type: "ready", version: 4 })).toEqual([{ type: "ready", version: 4 }]);
  expect(conversation.state).toBe("over");
  expect(() => conversation.call(request, Buffer.alloc(0))).toThrow("Cannot call a gate that is over");
});

test("GateConversation.call refuses a second call", () => {
  expect(() => called().call(request, Buffer.alloc(0))).toThrow("Cannot call a gate that is called");
});

describe("GateConversation refuses", () => {
  test.each<[string, GateFrame[]]>([
    ["a second READY", [ready]],
    ["LOG over the limit", [log("abcd"), log("e")]],
    ["a second EXPIRED", [expired, expired]],
    ["a response over the limit", [exit(7)]],
    ["RESPONSE before EXIT", [response("{}")]],
    ["more RESPONSE than promised", [exit(2), response("{"), response("}}")]],
    ["RESPONSE if none was promised", [exit(0), response("{}")]],
    ["a META that does not fit into a frame", [exit(0, PAYLOAD_BYTES + 1)]],
    ["META before EXIT", [meta("{}")]],
    ["a META that was not promised", [exit(2), meta("{}")]],
    ["a META of another length", [exit(2, 3), meta("{}")]],
    ["META twice", [exit(2, 2), meta("{}"), meta("{}")]],
    ["META after RESPONSE", [exit(2, 2), response("{}"), meta("{}")]],
    ["RESPONSE before META", [exit(2, 2), response("{}")]],
    ["anything after META if no response follows", [exit(0, 2), meta("{}"), expired]],
    ["LOG after EXIT", [exit(2), log("a")]],
    ["EXIT after EXIT", [exit(2), exit(2)]],
    ["FAILED after EXIT", [exit(2), failed]],
    ["anything after FAILED", [failed, log("a")]],
    ["anything after the response", [exit(1), response("1"), expired]],
  ])("%s", (_, frames) => {
    expect(() => say(called(), ...frames)).toThrow(ProtocolError);
  });

  test.each<GateFrame>([log("a"), expired, exit(0), response("a"), failed])("$type before the call", (frame) => {
    expect(() => say(new GateConversation(), frame)).toThrow(ProtocolError);
    expect(() => say(new GateConversation(), ready, frame)).toThrow(ProtocolError);
  });

  test("an end before the call is over", () => {
    for (const frames of [[], [log("a")], [exit(2), response("{")]]) {
      const conversation = called();
      say(conversation, ...frames);
      expect(() => conversation.end()).toThrow(ProtocolError);
    }
  });
});

test("GateConversation.call writes a short body in one piece and a long one frame by frame", () => {
  fc.assert(
    fc.property(fc.nat({ max: 4 * PAYLOAD_BYTES }), (length) => {
      const conversation = new GateConversation();
      say(conversation, ready);
      const pieces = [...conversation.call(request, Buffer.alloc(length))];
      expect(pieces.length).toBe(length <= PAYLOAD_BYTES ? 1 : 1 + Math.ceil(length / PAYLOAD_BYTES));
      const written = pieces.reduce((sum, piece) => sum + piece.length, 0);
      expect(written).toBe(41 + length + 5 * Math.ceil(length / PAYLOAD_BYTES));
    }),
    { examples: [[0], [PAYLOAD_BYTES], [PAYLOAD_BYTES + 1]] },
  );
});
