/** A stream's entries, each once and in order. */

import { CAN_SHARE, TabGroup } from "./tab_group.js";
import { Cut, Pauses, Refused, ask, isHidden, wait, withConnection } from "./network.js";
import { readEvents } from "./sse.js";

/** Types of entries that may stand for several; of others `first` is a field of the source's own. */
const MERGED = new Set(["text", "reasoning", "tool_input"]);

/** One live reader of one stream. */
export class Tail {
  /** Offset of the last entry delivered. */
  cursor;
  #url;
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

  constructor(url, { onEntry, onConnection = () => {}, headers = {}, token, after = 0, share = true }) {
    this.#url = url;
    this.#headers = headers;
    this.#token = token;
    this.#onEntry = onEntry;
    this.#onConnection = onConnection;
    this.cursor = after;
    this.#share = share && CAN_SHARE;
  }

  /** Stops reading. The generation goes on. */
  close() {
    this.#closing.abort();
    this.#group?.close();
  }

  /**
   * Reads until the stream's end, or until `close()`.
   * @throws {Refused} The broker refuses: there is no key, no such stream, or its past is gone.
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

  async #receive({ entry, after, connection }) {
    if (connection) this.#onConnection(connection);
    // Entries that are still missing after this are read when this tab leads.
    else if (!this.#take(entry, after)) await this.#fill().catch(() => {});
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
    const after = this.cursor;
    if (after > 0) headers["Last-Event-ID"] = String(after);
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
    return readEvents(response, connection, this.#pauses, ({ id, type, data }) => {
      if (type === "parting") return; // the token has ended: the next connection asks for another
      const entry = { ...JSON.parse(data), offset: Number(id) };
      const isMerged = MERGED.has(type) && entry.first === after + 1;
      if (!this.#take(entry, isMerged ? after : undefined)) throw new Cut("an offset was skipped");
      after = entry.offset;
    });
  }

  /**
   * Takes an entry that stands for all offsets after `after` up to its own. Returns false if entries before it are
   * missing, or if a merged one stands for some that were taken already: another tab's cursor was elsewhere.
   */
  #take(entry, after = entry.offset - 1) {
    if (this.#done) return true;
    // This reset is not in the log. The broker sends it to declare everything void that was read so far.
    const outsideLog = entry.type === "reset" && entry.offset === 0;
    if (!outsideLog && entry.offset <= this.cursor) return true;
    if (!outsideLog && after !== this.cursor) return false;
    this.#group?.send({ entry, after: this.cursor });
    this.cursor = entry.offset;
    this.#pauses.succeeded();
    this.#ended = entry.type === "end";
    this.#onEntry(entry);
    return true;
  }

  async #untilVisible() {
    this.#report("paused");
    while (isHidden() && !this.#done) await wait(this.#closing.signal);
    this.#report("reconnecting");
  }
}

/** A stream's URL with what this client asks for: merged entries of what is logged, unless the URL says how it is to come. */
function addressOf(url, follow) {
  const wishes = [/[?&](catchup|pace|partial)=/.test(url) ? "" : "catchup=coalesced", follow ? "" : "follow=false"];
  const query = wishes.filter(Boolean).join("&");
  return query ? `${url}${url.includes("?") ? "&" : "?"}${query}` : url;
}

/** Reads a stream's entries to its end, or until `signal`. Resolves with the last offset. */
export async function tail(url, { signal, ...options }) {
  signal?.throwIfAborted();
  const reader = new Tail(url, options);
  const close = () => reader.close();
  signal?.addEventListener("abort", close, { once: true });
  try {
    await reader.follow();
  } finally {
    signal?.removeEventListener("abort", close);
  }
  return reader.cursor;
}
