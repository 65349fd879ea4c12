import { quoted } from "../../domain/quoted.ts";

/** The highest uid and gid that engines take. */
const HIGHEST_ID = 2 ** 31 - 1;
const DIGITS = /^[0-9]+$/;
/** The most groups of a user that are passed on. */
const GROUPS = 256;

/** The user of a `strict` function whose image says root: the overflow ids, which own no file of an image. */
export const NOBODY: NumericUser = { uid: 65_534, gid: 65_534, groups: [] };

/** The texts of an image's lists of accounts. */
export interface AccountLists {
  /** `/etc/passwd`; empty if there is none. */
  readonly passwd: string;
  /** `/etc/group`. */
  readonly group: string;
}

/** A user as numbers. */
export interface NumericUser {
  readonly uid: number;
  readonly gid: number;
  /** Further groups. */
  readonly groups: readonly number[];
}

/**
 * Returns the user that a `USER` of an image, or a function's `user`, means, or in words why it is nobody who may run in the
 * sandbox `strict`. The lists are hostile: engines read a uid of `0x10` or `4294967296` as root, so anything but a decimal
 * number from 1 to 2^31-1 is refused. The group may be 0, which is no privilege without capabilities: images for OpenShift
 * have an arbitrary user in that group.
 *
 * As with engines, the first line with a name counts (unless another one makes it root), a number needs no line, and the groups that list a user are his only
 * if no group is named.
 */
export function resolveUser(user: string, lists: AccountLists): NumericUser | string {
  const [account = "", group, ...more] = user.split(":");
  if (more.length > 0 || group === "") return `its user ${quoted(user)} is not of the form "user" or "user:group"`;
  const number = idOf(account);
  // Digits are never a name: engines take them for a number, however large.
  if (number === undefined && DIGITS.test(account)) return `its user ${quoted(account)} is over ${HIGHEST_ID}`;
  const entries = lines(lists.passwd).filter(([name, , uid]) =>
    number === undefined ? name === account : uid !== undefined && idOf(uid) === number,
  );
  // One root among them is enough: engines and C libraries need not agree on which line counts.
  const entry = entries.find(([, , uid]) => !isOrdinary(uid)) ?? entries[0];
  if (number === undefined && entry === undefined) return `the image has no user ${quoted(account)}`;
  const uid = number ?? idOf(entry?.[2] ?? "");
  if (uid === undefined && DIGITS.test(entry?.[2] ?? ""))
    return `the uid of its user "${account}" is over ${HIGHEST_ID}`;
  // Engines take anything but a number for 0.
  if (uid === undefined || uid === 0) return `the sandbox "strict" has no root user, and its user "${account}" is one`;
  if (group !== undefined) {
    const gid = idOf(group) ?? gidOf(group, lists.group);
    return typeof gid === "number" ? { uid, gid, groups: [] } : gid;
  }
  const gid = entry === undefined ? 0 : idOf(entry[3] ?? "");
  if (gid === undefined) return `the gid of its user "${account}" is not a number up to ${HIGHEST_ID}`;
  return { uid, gid, groups: groupsOf(entry?.[0], gid, lists.group) };
}

/** Returns the number of a group that is named, or in words why it has none. */
export function gidOf(name: string, list: string): number | string {
  const entry = DIGITS.test(name) ? undefined : lines(list).find(([other]) => other === name);
  if (entry === undefined) return `the image has no group ${quoted(name)}`;
  return idOf(entry[2] ?? "") ?? `the gid of its group ${quoted(name)} is not a number up to ${HIGHEST_ID}`;
}

/** Returns the groups that list a user; those without a proper number are nobody's. */
export function groupsOf(name: string | undefined, gid: number, list: string): number[] {
  if (name === undefined || name === "") return [];
  const ids = lines(list).flatMap(([, , id = "", members = ""]) =>
    members.split(",").includes(name) ? (idOf(id) ?? []) : [],
  );
  return [...new Set(ids)].filter((id) => id !== gid).slice(0, GROUPS);
}

/** Reads an id: decimal digits alone, since engines and C libraries disagree on everything else. */
export function idOf(text: string): number | undefined {
  const id = /^[0-9]{1,10}$/.test(text) ? Number(text) : HIGHEST_ID + 1;
  return id <= HIGHEST_ID ? id : undefined;
}

function isOrdinary(uid: string | undefined): boolean {
  const id = idOf(uid ?? "");
  return id !== undefined && id > 0;
}

/** Returns the fields of each line. */
export function lines(list: string): string[][] {
  return list.split("\n").map((line) => line.trim().split(":"));
}
