import { canonicalAddress } from "../../domain/addresses.ts";

/** The most hops of a header that are read, from the last one on. */
const HOPS = 32;
/** The most commas of one hop of `Forwarded`: a proxy may write the caller's `Host` into it. */
const COMMAS = 16;

/** Addresses of the hops that a header names, the last one first; undefined for a hop that has none, such as `unknown`. */
export type ProxyHops = Iterable<string | undefined>;

/** Reads `X-Forwarded-For`: addresses, each with or without a port, brackets around IPv6 or not. */
export function* forwardedFor(header: string): ProxyHops {
  for (const hop of header.split(",").toReversed().slice(0, HOPS)) {
    // An empty element is none (RFC 9110, 5.6.1).
    if (hop.trim() !== "") yield hopAddress(hop.trim());
  }
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PAIR = `(${TOKEN})=(${TOKEN}|"(?:[^"\\\\]|\\\\.)*")`;
/** Each space can be matched in one way only, or a long header of them would take exponential time. */
const ELEMENT = new RegExp(`^${PAIR}[ \\t]*(?:;[ \\t]*(?:${PAIR}[ \\t]*)?)*$`);
const PAIRS = new RegExp(PAIR, "g");

/** Reads the addresses in `Forwarded` (RFC 7239). */
export function* forwarded(header: string): ProxyHops {
  for (const element of elementsOf(header)) {
    const address = element === undefined ? undefined : valueIn(element, "for");
    yield address === undefined ? undefined : hopAddress(address);
  }
}

/** Returns the protocol by which the nearest proxy says in `Forwarded` that it was reached, as it spells it. */
export function forwardedProto(header: string): string | undefined {
  const [nearest] = elementsOf(header);
  return nearest === undefined ? undefined : valueIn(nearest, "proto");
}

/**
 * Yields the elements of `Forwarded`, the last one first; undefined, and no more, if what follows is not well formed. It is read
 * from its end, where the nearest proxy wrote: a caller that sends a quotation mark without an end must not swallow what the
 * proxies added. What looks like an element inside a quoted text is not well formed by itself, because quotation marks in
 * there are escaped.
 */
function* elementsOf(header: string): Iterable<string | undefined> {
  let rest = header.trim();
  for (let hop = 0; hop < HOPS && rest !== ""; hop++) {
    const start = lastElement(rest);
    if (start === undefined) {
      yield undefined;
      return;
    }
    const element = rest.slice(start).trim();
    rest = rest.slice(0, Math.max(0, start - 1)).trimEnd();
    if (element !== "") yield element;
  }
}

/** Returns where the last element of a list begins; undefined if nothing at its end is well formed. */
function lastElement(list: string): number | undefined {
  let end = list.length;
  for (let commas = 0; commas <= COMMAS; commas++) {
    const start = list.lastIndexOf(",", end - 1) + 1;
    const element = list.slice(start).trim();
    if (element === "" || ELEMENT.test(element)) return start;
    if (start === 0) return undefined;
    end = start - 1;
  }
  return undefined;
}

/** Returns the value of a parameter of a well-formed element, which has it once. */
function valueIn(element: string, parameter: "for" | "proto"): string | undefined {
  const values = [...element.matchAll(PAIRS)].flatMap(([, name, value]) =>
    name?.toLowerCase() === parameter && value !== undefined ? [value] : [],
  );
  const [value, ...more] = values;
  if (value === undefined || more.length > 0) return undefined;
  return value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/g, "$1") : value;
}

/** Reads an address with or without a port, which may be obfuscated (`_x`). */
function hopAddress(text: string): string | undefined {
  const [, bracketed, plain] =
    /^(?:\[([^\]]*)\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::(?:\d{1,5}|_[\w.-]+))?$/.exec(text) ?? [];
  if (bracketed !== undefined) return bracketed.includes(":") ? canonicalAddress(bracketed) : undefined;
  return canonicalAddress(plain ?? text);
}
