import { quoted } from "../../../domain/quoted.ts";
import { type AccountLists, type NumericUser, gidOf, groupsOf, idOf, lines } from "../accounts.ts";

/** The user of a function in a cell, as numbers, and its directory. */
export interface CellUser extends NumericUser {
  /** The value of HOME where neither the image nor the function sets it. */
  readonly home: string;
}

/** The directory of a user that the image does not list. */
const NO_HOME = "/";

/**
 * Returns the user that a `USER` of an image, or a function's `user`, means, or in words why it is none; empty is root. As with
 * engines the first line with the name or number counts, and the groups that list the user are its only if no group is
 * named. Unlike them, an id that is not a decimal number up to 2^31-1 is refused: they read it as root.
 */
export function resolveCellUser(user: string, lists: AccountLists): CellUser | string {
  const [account = "", group, ...more] = user.split(":");
  if (more.length > 0 || group === "") return `its user ${quoted(user)} is not of the form "user" or "user:group"`;
  const number = account === "" ? 0 : idOf(account);
  const entry = lines(lists.passwd).find(
    ([name, , uid = ""]) => (account !== "" && name === account) || idOf(uid) === number,
  );
  if (entry === undefined && number === undefined) return `the image has no user ${quoted(account)}`;
  const uid = number ?? idOf(entry?.[2] ?? "");
  if (uid === undefined) return `the uid of its user ${quoted(account)} is not a number that engines take`;
  const home = entry?.[5] || NO_HOME;
  if (group !== undefined) {
    const gid = idOf(group) ?? gidOf(group, lists.group);
    return typeof gid === "number" ? { uid, gid, groups: [], home } : gid;
  }
  const gid = entry === undefined ? 0 : idOf(entry[3] ?? "");
  if (gid === undefined) return `the gid of its user ${quoted(account)} is not a number that engines take`;
  return { uid, gid, groups: groupsOf(entry?.[0], gid, lists.group), home };
}
