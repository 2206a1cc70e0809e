/** A `fetch` for the AI SDK, whose answers go on across lost connections, sleeping phones and restarts. */

import { CAN_SHARE, Company } from "./company.js";
import { Cut, Pauses, ask, insist, isHidden, wait, withConnection } from "./network.js";
import { readEvents } from "./sse.js";

const UNREADABLE = { type: "error", errorText: "This answer cannot be read any further." };

/**
 * A `fetch` for the AI SDK's `DefaultChatTransport`.
 *
 * A response that is cut is continued behind its last cursor, in the same body, so that the SDK sees one
 * answer. A POST that is lost before its answer is sent again; the broker knows it, and pays once. Tabs that
 * show the same answer read it by one connection.
 */
export function resumableFetch({ fetch = globalThis.fetch, patienceMs = 300_000, major, share = true } = {}) {
  return async (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (major !== undefined) headers.set("AI-SDK-Major", String(major));
    const signal = init.signal ?? new AbortController().signal;
    const pauses = new Pauses();
    const url = resumeUrl(input, init);
    const shared = share && CAN_SHARE;
    // A tab that joins replays what there is; then it is seen who reads on.
    const replays = shared && isGet(init);
    const asked = () => ask(fetch, replays ? replayUrl(url) : input, { ...init, headers }, pauses);
    const response = await insist(asked, pauses, signal, patienceMs);
    if (!response.headers.has("x-vercel-ai-ui-message-stream") || !response.body) return response;
    const answer = new ResumedAnswer(response, { fetch, signal, pauses, patienceMs, url, headers, shared, replays });
    return new Response(answer.body(), { status: response.status, headers: response.headers });
  };
}

function isGet({ method = "GET" }) {
  return method.toUpperCase() === "GET";
}

/** Where a chat's answer is resumed: the SDK's own convention. */
function resumeUrl(input, init) {
  const url = String(input?.url ?? input);
  if (isGet(init)) return url;
  const [path, query] = url.split("?");
  return `${path}/${encodeURIComponent(JSON.parse(init.body).id)}/stream${query === undefined ? "" : `?${query}`}`;
}

function replayUrl(url) {
  return `${url}${url.includes("?") ? "&" : "?"}follow=false`;
}

/** The offset in a cursor, `<start of the stream id>.<offset>`; below all others where there is none. */
function offsetOf(cursor) {
  return cursor ? Number(cursor.slice(cursor.lastIndexOf(".") + 1)) : -1;
}

/** One answer's events, over as many connections as it takes. */
class ResumedAnswer {
  #response;
  #options;
  #streamId;
  #cursor = "";
  #over = false;
  #company = null;
  #filling = false;
  #send;

  constructor(response, options) {
    this.#response = response;
    this.#options = options;
    this.#streamId = response.headers.get("Stream-Id");
  }

  body() {
    const encoder = new TextEncoder();
    const gone = new AbortController();
    return new ReadableStream({
      start: async (controller) => {
        this.#send = (text) => gone.signal.aborted || controller.enqueue(encoder.encode(text));
        try {
          await this.#run(AbortSignal.any([gone.signal, this.#options.signal]));
          if (!gone.signal.aborted) controller.close();
        } catch (error) {
          if (!gone.signal.aborted) controller.error(error);
        }
      },
      cancel: () => gone.abort(),
    });
  }

  async #run(signal) {
    if (this.#options.shared) await this.#readTogether(signal);
    else await this.#readAlone(signal);
    if (!this.#over) signal.throwIfAborted();
  }

  async #readTogether(signal) {
    const { url, headers, replays } = this.#options;
    const name = `midstream:${url}:${this.#streamId}:${headers.get("AI-SDK-Major") ?? ""}`;
    const company = (this.#company = new Company(name, (told) => this.#hear(told, signal)));
    signal.addEventListener("abort", () => company.close(), { once: true });
    try {
      if (replays) await this.#fill(signal);
      else await company.leadOrNot((leading) => this.#readAlone(leading));
      while (!this.#over && !signal.aborted) {
        await this.#untilVisible(signal);
        await company.lead((leading) => this.#readAlone(leading));
      }
    } finally {
      company.close();
    }
  }

  async #readAlone(signal) {
    while (!this.#over && !signal.aborted) {
      if (isHidden() && !this.#response) {
        if (this.#company) return; // another tab may be visible
        await this.#untilVisible(signal);
      }
      await this.#attempt(signal);
      if (!this.#over && !isHidden()) await this.#options.pauses.pause(signal);
    }
  }

  async #untilVisible(signal) {
    while (isHidden() && !signal.aborted && !this.#over) await wait(signal);
  }

  /** Reads one response; a lost one is no error, a broker that will not go on ends the answer. */
  #attempt(signal, { follow = true } = {}) {
    return withConnection(signal, this.#options.pauses, async (connection) => {
      const reading = { behind: this.#cursor, id: "", held: [], parted: false };
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
    const { fetch, url, pauses, patienceMs } = this.#options;
    const headers = new Headers(this.#options.headers);
    headers.delete("content-type");
    if (this.#cursor) headers.set("Last-Event-ID", this.#cursor);
    const { signal } = connection;
    const init = { headers, signal, cache: "no-store" };
    const asked = () => (connection.heard(), ask(fetch, follow ? url : replayUrl(url), init, pauses));
    const response = await insist(asked, pauses, signal, patienceMs);
    const ours = response.ok && response.headers.get("Stream-Id") === this.#streamId;
    if (ours && response.status !== 204) return response;
    await response.body?.cancel();
    if (!this.#over) this.#send(`data: ${JSON.stringify(UNREADABLE)}\n\ndata: [DONE]\n\n`);
    this.#over = true;
    return null;
  }

  /** Passes events on in whole entries, whose last event carries the cursor: none is cut in its middle. */
  #take({ id, type, data }, reading) {
    reading.parted ||= type === "parting";
    if (this.#over || reading.parted) return; // the broker stops: what it says behind that is for pages without this
    const part = data === "[DONE]" ? { type: data } : JSON.parse(data);
    // The boundary of a replay: what was continued by a cursor is no replay to the SDK.
    if (part.type === "data-replay") return reading.behind || this.#send(`data: ${data}\n\n`);
    reading.held.push(`data: ${data}\n\n`);
    const over = part.type === "[DONE]";
    // Not the answer's cursor: another tab's word may have moved that meanwhile.
    if (id === reading.id && !over) return;
    this.#deliver({ after: reading.id || reading.behind, id, text: reading.held.join(""), over });
    Object.assign(reading, { id, held: [] });
  }

  /** Passes an entry's events on if it is the next one; false: something is missing before it. */
  #deliver({ after, id, text, over }) {
    const [mine, next] = [offsetOf(this.#cursor), offsetOf(id)];
    // 0 is outside the log: the broker takes back what was sent so far. What is over without a cursor is an error.
    const again = next !== 0 && next <= mine && !(over && id === after);
    if (this.#over || again) return true;
    if (next !== 0 && offsetOf(after) > mine) return false;
    this.#options.pauses.succeeded();
    this.#cursor = id;
    this.#over = over;
    this.#send(text);
    this.#company?.tell({ after, id, text, over });
    return true;
  }

  async #hear(told, signal) {
    // What this does not bring, nor a later word, is read when it is this tab's turn to lead.
    if (!this.#deliver(told)) await this.#fill(signal).catch(() => {});
    if (this.#over) this.#company.close();
  }

  /** Reads what there is behind the cursor, unless that is being done. */
  async #fill(signal) {
    if (this.#filling) return;
    this.#filling = true;
    await this.#attempt(signal, { follow: false }).finally(() => (this.#filling = false));
  }
}
