/** The entries of all streams of a thread, each once and in order, and markers between the streams. */

import { Follower, mergesAfter, readUntil } from "./reader.js";

/** The cursor before a thread's first stream. */
const START = "0";

/** The stream and the offset in a cursor, which is infinite after the stream's end. */
function partsOf(cursor) {
  const dot = cursor.lastIndexOf(".");
  const offset = cursor.slice(dot + 1);
  return [cursor.slice(0, Math.max(dot, 0)), offset === "end" ? Infinity : Number(offset)];
}

/** The cursor of a thread, `<stream id>.<offset>`: the id of the last event that was taken. */
class ThreadCursor {
  endsWithEnd = false;
  /** The streams that were read, each with its place among them: of two others nobody knows which comes first. */
  #order = new Map();

  constructor(after) {
    this.at = after || START;
    this.#note();
  }

  get header() {
    return this.at === START ? "" : this.at;
  }

  itemOf({ id, data }) {
    const [stream_id, offset] = partsOf(id);
    const entry = JSON.parse(data);
    if (Number.isFinite(offset)) entry.offset = offset;
    return { entry, place: { stream_id, cursor: id } };
  }

  placeOf({ place }) {
    return place.cursor;
  }

  /** Markers come after whatever came before them; an entry comes after the one before it. */
  placeBefore({ entry, place }, last) {
    const [stream, offset] = partsOf(last);
    const isMarker = !(entry.offset > 0);
    if (isMarker || (stream === place.stream_id && mergesAfter(offset, entry))) return last;
    return `${place.stream_id}.${entry.offset - 1}`;
  }

  judge(item, after) {
    const { stream_id, cursor } = item.place;
    const [stream, offset] = partsOf(this.at);
    // These resets are in no log. The broker declares void what was read of the thread, or of the stream.
    if (item.entry.type === "reset" && !(item.entry.offset > 0) && ["", stream].includes(stream_id)) return "next";
    if (after === this.at) return "next";
    const [place, last] = [this.#order.get(stream_id), this.#order.get(stream)];
    const wasTaken = place === last && place !== undefined ? partsOf(cursor)[1] <= offset : place < last;
    return wasTaken ? "seen" : "gap";
  }

  move({ place }) {
    this.at = place.cursor;
    if (this.at === START) this.#order.clear();
    else this.#note();
  }

  #note() {
    const [stream] = partsOf(this.at);
    if (stream && !this.#order.has(stream)) this.#order.set(stream, this.#order.size);
  }
}

/** One live reader of one thread. */
export class ThreadTail extends Follower {
  constructor(url, { after, ...options }) {
    super(url, new ThreadCursor(after), options);
  }
}

/** Reads a thread's streams, and each one that is started, until `signal`. Resolves with the last cursor. */
export async function thread(url, { signal, ...options }) {
  return readUntil(signal, new ThreadTail(url, options));
}
