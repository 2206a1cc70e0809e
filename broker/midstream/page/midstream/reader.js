/** One URL's events, each once and in order, over any number of connections and tabs. */

import { CAN_SHARE, TabGroup } from "./tab_group.js";
import { Cut, Pauses, Refused, ask, isHidden, wait, withConnection } from "./network.js";
import { readEvents } from "./sse.js";

/** Types of entries that may stand for several; of others `first` is a field of the source's own. */
const MERGED = new Set(["text", "reasoning", "tool_input"]);

/** Whether a merged entry begins right after an offset. */
export function mergesAfter(offset, { type, first }) {
  return MERGED.has(type) && first === offset + 1;
}

/**
 * Reads with a cursor, which knows what comes after what:
 * - `at`: how far this tab has read, and `header`: the same for the broker, "" at the beginning;
 * - `itemOf(event)`: what tabs pass on of an event: its `entry` and, in a thread, its `place`;
 * - `placeOf(item)`: the place of an item, and `placeBefore(item, last)`: the one that it has to come after;
 * - `judge(item, after)`: what an item is that comes after `after`: the "next" one, one that was "seen" before, or one
 *   that comes after a "gap", which is to be read first;
 * - `move(item)`: the item is taken.
 */
class Reader {
  #url;
  #cursor;
  #headers;
  #token;
  #onEntry;
  #onConnection;
  #closing = new AbortController();
  #ended = false;
  #pauses = new Pauses();
  #share;
  #group = null;
  #filling = false;

  constructor(url, cursor, { onEntry, onConnection = () => {}, headers = {}, token, share = true }) {
    this.#url = url;
    this.#cursor = cursor;
    this.#headers = headers;
    this.#token = token;
    this.#onEntry = onEntry;
    this.#onConnection = onConnection;
    this.#share = share && CAN_SHARE;
  }

  /** Stops reading. */
  close() {
    this.#closing.abort();
    this.#group?.close();
  }

  /**
   * Reads until there is no more, or until `close()`.
   * @throws {Refused} The broker refuses.
   */
  async follow() {
    this.#report("connecting");
    if (this.#share && !this.#done) await this.#followTogether();
    else await this.#followAlone(this.#closing.signal);
    if (this.#ended) this.#report("ended");
  }

  get #done() {
    return this.#ended || this.#closing.signal.aborted;
  }

  async #followAlone(signal) {
    while (!this.#done && !signal.aborted) {
      if (isHidden()) {
        if (this.#share) return; // another tab may be visible
        await this.#untilVisible();
      }
      await this.#attempt(signal);
      if (this.#done || signal.aborted || isHidden()) continue;
      this.#report("reconnecting");
      await this.#pauses.pause(signal);
    }
  }

  /** Reads through the leading tab, or as the leading tab. */
  async #followTogether() {
    this.#group = new TabGroup(`midstream:${this.#url}`, (message) => this.#receive(message));
    try {
      await this.#fill();
      while (!this.#done) {
        if (isHidden()) await this.#untilVisible();
        await this.#group.lead((leading) => this.#followAlone(leading));
      }
    } finally {
      this.#group.close();
    }
  }

  async #receive({ after, connection, ...item }) {
    if (connection) this.#onConnection(connection);
    // Entries that are still missing after this are read when this tab leads.
    else if (!this.#take(item, after)) await this.#fill().catch(() => {});
    if (this.#ended) this.#group.close();
  }

  /** Reads what is logged after the cursor, unless that is being done. */
  async #fill() {
    if (this.#filling) return;
    this.#filling = true;
    await this.#attempt(this.#closing.signal, { follow: false }).finally(() => (this.#filling = false));
  }

  #report(connection) {
    this.#onConnection(connection);
    if (connection === "live" || connection === "reconnecting") this.#group?.send({ connection });
  }

  #attempt(signal, { follow = true } = {}) {
    const headers = { ...this.#headers, Accept: "text/event-stream" };
    const after = this.#cursor.at;
    if (this.#cursor.header) headers["Last-Event-ID"] = this.#cursor.header;
    const url = addressOf(this.#url, follow);
    return withConnection(signal, this.#pauses, async (connection) => {
      try {
        const init = { headers, signal: connection.signal, cache: "no-store" };
        const response = await ask(fetch, url, init, this.#pauses, this.#token);
        if (response.status === 204) this.#ended = true;
        else if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
        else await this.#read(response, connection, after);
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
      }
    });
  }

  /** Reads a response that begins after `after`. The tab's own cursor may be moved by another tab meanwhile. */
  #read(response, connection, after) {
    this.#report("live");
    return readEvents(response, connection, this.#pauses, (event) => {
      if (event.type === "parting") return; // the token has ended: the next connection asks for another
      const item = this.#cursor.itemOf(event);
      if (!this.#take(item, this.#cursor.placeBefore(item, after))) throw new Cut("an entry is missing");
      after = this.#cursor.placeOf(item);
    });
  }

  /** Takes what comes right after the place `after`. Returns false if something is missing before it. */
  #take(item, after) {
    if (this.#done) return true;
    const judgement = this.#cursor.judge(item, after);
    if (judgement !== "next") return judgement === "seen";
    this.#group?.send({ ...item, after: this.#cursor.at });
    this.#cursor.move(item);
    this.#pauses.succeeded();
    this.#ended = item.entry.type === "end" && this.#cursor.endsWithEnd;
    this.#onEntry(item.entry, item.place);
    return true;
  }

  async #untilVisible() {
    this.#report("paused");
    while (isHidden() && !this.#done) await wait(this.#closing.signal);
    this.#report("reconnecting");
  }
}

/** A URL with what this client asks for: merged entries of what is logged, unless the URL says how it is to come. */
function addressOf(url, follow) {
  const wishes = [/[?&](catchup|pace|partial)=/.test(url) ? "" : "catchup=coalesced", follow ? "" : "follow=false"];
  const query = wishes.filter(Boolean).join("&");
  return query ? `${url}${url.includes("?") ? "&" : "?"}${query}` : url;
}

/** What a page holds of a reader that connects again until it is closed. */
export class Follower {
  #cursor;
  #reader;

  constructor(url, cursor, options) {
    this.#cursor = cursor;
    this.#reader = new Reader(url, cursor, options);
  }

  /** Offset of the last entry delivered, or the cursor of a thread's last event. */
  get cursor() {
    return this.#cursor.at;
  }

  /** Stops reading. What runs goes on. */
  close() {
    this.#reader.close();
  }

  /**
   * Reads until the stream's end, or until `close()`: a thread has no end.
   * @throws {Refused} The broker refuses: there is no key, no such stream or thread, or its past is gone.
   */
  follow() {
    return this.#reader.follow();
  }
}

/** Reads to the end, or until `signal`. Resolves with the last cursor. */
export async function readUntil(signal, follower) {
  signal?.throwIfAborted();
  const close = () => follower.close();
  signal?.addEventListener("abort", close, { once: true });
  try {
    await follower.follow();
  } finally {
    signal?.removeEventListener("abort", close);
  }
  return follower.cursor;
}
