/** A stream's entries, each once and in order. */

import { Follower, mergesAfter, readUntil } from "./reader.js";

/** The cursor of a stream: the offset of the last entry that was taken. */
class OffsetCursor {
  endsWithEnd = true;

  constructor(after) {
    this.at = after;
  }

  get header() {
    return this.at > 0 ? String(this.at) : "";
  }

  itemOf({ id, data }) {
    return { entry: { ...JSON.parse(data), offset: Number(id) } };
  }

  placeOf({ entry }) {
    return entry.offset;
  }

  placeBefore({ entry }, last) {
    return mergesAfter(last, entry) ? last : entry.offset - 1;
  }

  /** An entry that stands for some that were taken already is a gap: another tab's cursor was elsewhere. */
  judge({ entry }, after) {
    // This reset is not in the log. The broker sends it to declare everything void that was read so far.
    if (entry.type === "reset" && entry.offset === 0) return "next";
    if (entry.offset <= this.at) return "seen";
    return after === this.at ? "next" : "gap";
  }

  move({ entry }) {
    this.at = entry.offset;
  }
}

/** One live reader of one stream. */
export class Tail extends Follower {
  constructor(url, { after = 0, ...options }) {
    super(url, new OffsetCursor(after), options);
  }
}

/** Reads a stream's entries to its end, or until `signal`. Resolves with the last offset. */
export async function tail(url, { signal, ...options }) {
  return readUntil(signal, new Tail(url, options));
}
