/** A `fetch` for the AI SDK, whose answers go on over lost connections, sleeping phones and restarts. */

import { Cut, Pauses, ask, insist, isHidden, wait, withConnection } from "./network.js";
import { readEvents } from "./sse.js";
import { CAN_SHARE, TabGroup } from "./tab_group.js";

const UNREADABLE = { type: "error", errorText: "This answer cannot be read any further." };

/**
 * A `fetch` for the AI SDK's `DefaultChatTransport`.
 *
 * A response that is cut is continued after its last cursor, in the same body, so that the SDK sees one answer. A POST
 * whose answer is lost is sent again; the broker recognises it, and pays once. Tabs that show the same answer share a
 * connection.
 */
export function resumableFetch({ fetch = globalThis.fetch, patienceMs = 300_000, major, token, share = true } = {}) {
  return async (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (major !== undefined) headers.set("AI-SDK-Major", String(major));
    const signal = init.signal ?? new AbortController().signal;
    const pauses = new Pauses();
    const url = resumeUrl(input, init);
    const shared = share && CAN_SHARE;
    // A tab that joins replays what is logged, and only then takes its place in the group.
    const replays = shared && isGet(init);
    const send = () => ask(fetch, replays ? replayUrl(url) : input, { ...init, headers }, pauses, token);
    const response = await insist(send, pauses, signal, patienceMs);
    if (!response.headers.has("x-vercel-ai-ui-message-stream") || !response.body) return response;
    const answer = new ResumedAnswer(response, { fetch, signal, pauses, patienceMs, url, headers, token, shared, replays });
    return new Response(answer.body(), { status: response.status, headers: response.headers });
  };
}

function isGet({ method = "GET" }) {
  return method.toUpperCase() === "GET";
}

/** The address at which a chat's answer is resumed, by the SDK's own convention. */
function resumeUrl(input, init) {
  const url = String(input?.url ?? input);
  if (isGet(init)) return url;
  const [path, query] = url.split("?");
  return `${path}/${encodeURIComponent(JSON.parse(init.body).id)}/stream${query === undefined ? "" : `?${query}`}`;
}

function replayUrl(url) {
  return `${url}${url.includes("?") ? "&" : "?"}follow=false`;
}

/** The offset in a cursor, `<start of the stream id>.<offset>`; -1, below all others, if there is none. */
function offsetOf(cursor) {
  return cursor ? Number(cursor.slice(cursor.lastIndexOf(".") + 1)) : -1;
}

/** One answer's events, over as many connections as it takes. */
class ResumedAnswer {
  #response;
  #options;
  #streamId;
  #cursor = "";
  #isOver = false;
  #group = null;
  #filling = false;
  #send;

  constructor(response, options) {
    this.#response = response;
    this.#options = options;
    this.#streamId = response.headers.get("Stream-Id");
  }

  body() {
    const encoder = new TextEncoder();
    const cancelled = new AbortController();
    return new ReadableStream({
      start: async (controller) => {
        this.#send = (text) => cancelled.signal.aborted || controller.enqueue(encoder.encode(text));
        try {
          await this.#run(AbortSignal.any([cancelled.signal, this.#options.signal]));
          if (!cancelled.signal.aborted) controller.close();
        } catch (error) {
          if (!cancelled.signal.aborted) controller.error(error);
        }
      },
      cancel: () => cancelled.abort(),
    });
  }

  async #run(signal) {
    if (this.#options.shared) await this.#readTogether(signal);
    else await this.#readAlone(signal);
    if (!this.#isOver) signal.throwIfAborted();
  }

  async #readTogether(signal) {
    const { url, headers, replays } = this.#options;
    const name = `midstream:${url}:${this.#streamId}:${headers.get("AI-SDK-Major") ?? ""}`;
    const group = (this.#group = new TabGroup(name, (piece) => this.#receive(piece, signal)));
    signal.addEventListener("abort", () => group.close(), { once: true });
    try {
      if (replays) await this.#fill(signal);
      else await group.readAtOnce((leading) => this.#readAlone(leading));
      while (!this.#isOver && !signal.aborted) {
        await this.#untilVisible(signal);
        await group.lead((leading) => this.#readAlone(leading));
      }
    } finally {
      group.close();
    }
  }

  async #readAlone(signal) {
    while (!this.#isOver && !signal.aborted) {
      if (isHidden() && !this.#response) {
        if (this.#group) return; // another tab may be visible
        await this.#untilVisible(signal);
      }
      await this.#attempt(signal);
      if (!this.#isOver && !isHidden()) await this.#options.pauses.pause(signal);
    }
  }

  async #untilVisible(signal) {
    while (isHidden() && !signal.aborted && !this.#isOver) await wait(signal);
  }

  /** Reads one response. A lost one is no error; a broker that will not go on ends the answer. */
  #attempt(signal, { follow = true } = {}) {
    return withConnection(signal, this.#options.pauses, async (connection) => {
      const reading = { after: this.#cursor, id: "", pending: [], isParting: false };
      try {
        const response = this.#response ?? (await this.#reconnect(connection, follow));
        this.#response = null;
        const take = (event) => this.#take(event, reading);
        if (response) await readEvents(response, connection, this.#options.pauses, take);
      } catch (error) {
        if (!(error instanceof Cut || connection.signal.aborted)) throw error;
      }
    });
  }

  async #reconnect(connection, follow) {
    const { fetch, url, pauses, patienceMs, token } = this.#options;
    const headers = new Headers(this.#options.headers);
    headers.delete("content-type");
    if (this.#cursor) headers.set("Last-Event-ID", this.#cursor);
    const { signal } = connection;
    const init = { headers, signal, cache: "no-store" };
    const send = () => (connection.noteBytes(), ask(fetch, follow ? url : replayUrl(url), init, pauses, token));
    const response = await insist(send, pauses, signal, patienceMs);
    const ours = response.ok && response.headers.get("Stream-Id") === this.#streamId;
    if (ours && response.status !== 204) return response;
    await response.body?.cancel();
    if (!this.#isOver) this.#send(`data: ${JSON.stringify(UNREADABLE)}\n\ndata: [DONE]\n\n`);
    this.#isOver = true;
    return null;
  }

  /** Passes events on in whole entries, so that no cut divides an entry. Its last event carries the cursor. */
  #take({ id, type, data }, reading) {
    reading.isParting ||= type === "parting";
    if (this.#isOver || reading.isParting) return; // what comes after it is for pages without this module
    const part = data === "[DONE]" ? { type: data } : JSON.parse(data);
    // The boundary of a replay. To the SDK an answer that goes on after a cursor is no replay.
    if (part.type === "data-replay") return reading.after || this.#send(`data: ${data}\n\n`);
    reading.pending.push(`data: ${data}\n\n`);
    const over = part.type === "[DONE]";
    // The answer's own cursor does not count here, because another tab may have moved it meanwhile.
    if (id === reading.id && !over) return;
    const piece = { after: reading.id || reading.after, id, text: reading.pending.join(""), over };
    if (!this.#deliver(piece)) throw new Cut("another tab has moved the cursor meanwhile");
    Object.assign(reading, { id, pending: [] });
  }

  /** Passes an entry's events on if it is the next one. Returns false if it is another one, so that there is a gap or an overlap. */
  #deliver({ after, id, text, over }) {
    const [last, next] = [offsetOf(this.#cursor), offsetOf(id)];
    // A merged entry of another tab, of which this one has a part: the rest is read after this tab's own cursor.
    if (last > 0 && next > last && offsetOf(after) < last) return false;
    // Offset 0 is outside the log: the broker declares void what it has sent so far. An end without a cursor is an error.
    const again = next !== 0 && next <= last && !(over && id === after);
    if (this.#isOver || again) return true;
    if (next !== 0 && offsetOf(after) > last) return false;
    this.#options.pauses.succeeded();
    this.#cursor = id;
    this.#isOver = over;
    this.#send(text);
    this.#group?.send({ after, id, text, over });
    return true;
  }

  async #receive(piece, signal) {
    // Entries that are still missing after this are read when this tab leads.
    if (!this.#deliver(piece)) await this.#fill(signal).catch(() => {});
    if (this.#isOver) this.#group.close();
  }

  /** Reads what is logged after the cursor, unless that is being done. */
  async #fill(signal) {
    if (this.#filling) return;
    this.#filling = true;
    await this.#attempt(signal, { follow: false }).finally(() => (this.#filling = false));
  }
}
