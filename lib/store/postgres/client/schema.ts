/**
 * The expression of a number that distinguishes the schema from others: several clusters may have a schema each in one database, and its advisory
 * locks and its channels are those of the whole database. It is 0 in the schema "public", so that names and keys are there those of
 * versions that did not distinguish: servers of a cluster are upgraded one after the other, and have to hear and exclude each other meanwhile.
 */
export const SCHEMA =
  "case coalesce(current_schema(), 'public') when 'public' then 0::bigint else hashtextextended(current_schema()::text, 0) end";

/** The expression of the key of an advisory lock, of its number `$lock`. */
export const LOCK_KEY = `$lock::bigint # ${SCHEMA}`;

/** The expression of a channel, of its name `$channel` in the schema "public". A whole schema's name might be too long for one. */
export const CHANNEL_NAME = `$channel::text || case ${SCHEMA} when 0 then '' else '_' || to_hex(${SCHEMA}) end`;
