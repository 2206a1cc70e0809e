/**
 * Reads midstream's streams from a browser, or from Node, and comes back by itself where it was.
 *
 * fetch() and not EventSource: EventSource cannot send an API key, and hides the status of a refusal.
 */

/** Longest silence, in ms, that is believed; the broker sends a heartbeat every 15 s. */
const SILENCE_MS = 45_000;
/** Longest pause between two tries, in ms. */
const MAX_PAUSE_MS = 15_000;
/** A tab hidden for so long, in ms, gives its connection back: HTTP/1.1 browsers allow six per host. */
const HIDDEN_MS = 2_000;
const WORTH_ANOTHER_TRY = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The broker refused for good; `problem` is its problem document. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The broker answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** This connection is over, the stream is not: read on from the cursor. */
class Cut extends Error {}

/** Parses `text/event-stream` as the HTML standard says, from text that arrives in any pieces. */
export class EventStreamParser {
  #onEvent;
  #onRetry;
  #rest = "";
  #afterCr = false;
  #id = "";
  #type = "";
  #data = [];

  constructor(onEvent, onRetry = () => {}) {
    this.#onEvent = onEvent;
    this.#onRetry = onRetry;
  }

  /** Takes the next piece; whatever is incomplete waits for the one after it. */
  feed(piece) {
    if (piece === "") return;
    const text = this.#rest + (this.#afterCr && piece[0] === "\n" ? piece.slice(1) : piece);
    this.#afterCr = piece.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    for (const line of lines) this.#take(line);
  }

  #take(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.#onRetry(Number(value));
  }

  #dispatch() {
    const event = { id: this.#id, type: this.#type || "message", data: this.#data.join("\n") };
    const empty = this.#data.length === 0;
    this.#type = "";
    this.#data = [];
    if (!empty) this.#onEvent(event);
  }
}

/** Pauses between tries: full jitter under a growing ceiling; what the broker asked for counts as well. */
class Pauses {
  retryMs = 1_000;
  retryAfterMs = 0;
  #failures = 0;

  succeeded() {
    this.#failures = 0;
  }

  /** Waits; coming online, or back to the tab, ends the wait, and so does `signal`. */
  pause(signal) {
    const ceiling = Math.min(MAX_PAUSE_MS, this.retryMs * 2 ** Math.min(this.#failures, 10));
    const ms = this.retryAfterMs + Math.random() * ceiling;
    this.#failures += 1;
    this.retryAfterMs = 0;
    return wait(signal, ms);
  }
}

/** One reading of a response to its end, in whole events. A silence that is too long is an end, too. */
async function readEvents(response, connection, pauses, onEvent) {
  const parser = new EventStreamParser(onEvent, (ms) => (pauses.retryMs = ms));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const silence = new Timer(() => connection.abort());
  try {
    for (;;) {
      silence.start(SILENCE_MS);
      const { value, done } = await overNetwork(reader.read());
      if (done) return;
      parser.feed(value);
    }
  } finally {
    silence.stop();
    reader.cancel().catch(() => {});
  }
}

/** Asks, and tells what the answer means: a response to read, or null where another try is worth it. */
async function ask(fetch, url, init, pauses) {
  const response = await overNetwork(fetch(url, init));
  if (WORTH_ANOTHER_TRY.has(response.status)) {
    pauses.retryAfterMs = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
    throw new Cut(`the answer was ${response.status}`);
  }
  return response;
}

/** One live reader of one stream. */
export class Tail {
  /** Offset of the last entry delivered. */
  cursor;
  #url;
  #headers;
  #onEntry;
  #onConnection;
  #closing = new AbortController();
  #ended = false;
  #pauses = new Pauses();
  #share;
  #channel = null;
  #leading = false;
  #filling = false;

  constructor(url, { onEntry, onConnection = () => {}, headers = {}, after = 0, share = false }) {
    this.#url = url;
    this.#headers = headers;
    this.#onEntry = onEntry;
    this.#onConnection = onConnection;
    this.cursor = after;
    // Locks are missing where the page is not served securely: then each tab has a connection of its own.
    this.#share = share && globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;
  }

  /** Stops reading. The generation goes on. */
  close() {
    this.#closing.abort();
  }

  /**
   * Reads until the stream's end, or until `close()`.
   * @throws {Refused} The broker will not serve this stream: no key, no such stream, its past is gone.
   */
  async follow() {
    this.#tell("connecting");
    if (this.#share) await this.#followTogether();
    else await this.#followAlone();
    if (this.#ended) this.#tell("ended");
  }

  get #done() {
    return this.#ended || this.#closing.signal.aborted;
  }

  async #followAlone() {
    while (!this.#done) {
      if (isHidden()) {
        if (this.#share) return; // another tab may be visible
        await this.#untilVisible();
      }
      await this.#attempt(this.#url);
      if (this.#done || isHidden()) continue;
      this.#tell("reconnecting");
      await this.#pauses.pause(this.#closing.signal);
    }
  }

  /** Reads by way of the tab that holds the stream's lock, or is that tab itself. */
  async #followTogether() {
    const name = `midstream:${this.#url}`;
    const done = new AbortController();
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      this.#hear(data);
      if (this.#ended) done.abort();
    };
    this.#closing.signal.addEventListener("abort", () => done.abort(), { once: true });
    try {
      await this.#attempt(this.#url, { follow: false });
      while (!this.#done) {
        if (isHidden()) await this.#untilVisible();
        await navigator.locks.request(name, { signal: done.signal }, () => this.#lead()).catch(unlessAborted(done.signal));
      }
    } finally {
      this.#channel.close();
      this.#channel = null;
    }
  }

  async #lead() {
    this.#leading = true;
    try {
      await this.#followAlone();
    } finally {
      this.#leading = false;
    }
  }

  #hear({ entry, connection }) {
    if (this.#leading) return;
    if (connection) this.#onConnection(connection);
    else if (!this.#take(entry) && !this.#filling) {
      this.#filling = true;
      // What this does not bring, nor a later broadcast, is read when the lock comes round.
      this.#attempt(this.#url, { follow: false })
        .catch(() => {})
        .finally(() => (this.#filling = false));
    }
  }

  #tell(connection) {
    this.#onConnection(connection);
    if (this.#leading && (connection === "live" || connection === "reconnecting")) this.#channel.postMessage({ connection });
  }

  async #attempt(url, { follow = true } = {}) {
    const connection = new AbortController();
    const cut = () => connection.abort();
    const hidden = new Timer(cut);
    const scope = { signal: connection.signal };
    onVisibility(() => (isHidden() ? hidden.start(HIDDEN_MS) : hidden.stop()), scope);
    this.#closing.signal.addEventListener("abort", cut, scope);
    const headers = { ...this.#headers, Accept: "text/event-stream" };
    if (this.cursor > 0) headers["Last-Event-ID"] = String(this.cursor);
    const asked = follow ? url : `${url}${url.includes("?") ? "&" : "?"}follow=false`;
    try {
      const response = await ask(fetch, asked, { headers, signal: connection.signal, cache: "no-store" }, this.#pauses);
      if (response.status === 204) this.#ended = true;
      else if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
      else await this.#read(response, connection);
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
    } finally {
      hidden.stop();
      connection.abort();
    }
  }

  #read(response, connection) {
    this.#tell("live");
    return readEvents(response, connection, this.#pauses, ({ id, data }) => {
      if (!this.#take({ ...JSON.parse(data), offset: Number(id) })) throw new Cut("an offset was skipped");
    });
  }

  /** Takes an entry if it is the next one; false: something is missing before it. */
  #take(entry) {
    if (this.#done) return true;
    // Told by the broker itself and not from the log: what was read so far is void.
    const outsideLog = entry.type === "reset" && entry.offset === 0;
    if (!outsideLog && entry.offset <= this.cursor) return true;
    if (!outsideLog && entry.offset !== this.cursor + 1) return false;
    this.cursor = entry.offset;
    this.#pauses.succeeded();
    this.#ended = entry.type === "end";
    if (this.#leading) this.#channel.postMessage({ entry });
    this.#onEntry(entry);
    return true;
  }

  async #untilVisible() {
    this.#tell("paused");
    while (isHidden() && !this.#done) await wait(this.#closing.signal);
    this.#tell("reconnecting");
  }
}

/** Reads a stream's entries to its end, or until `signal`; resolves with the last offset. */
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

/**
 * A `fetch` for the AI SDK's `DefaultChatTransport`: its answers go on across lost connections and restarts.
 *
 * A response that is cut is continued behind its last cursor, in the same body, so that the SDK sees one
 * answer. A POST that is lost before its answer is sent again; the broker knows it, and pays once.
 */
export function resumableFetch({ fetch = globalThis.fetch, patienceMs = 300_000, major } = {}) {
  return async (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (major !== undefined) headers.set("AI-SDK-Major", String(major));
    const asked = { ...init, headers };
    const signal = init.signal ?? new AbortController().signal;
    const pauses = new Pauses();
    const response = await insist(() => ask(fetch, input, asked, pauses), pauses, signal, patienceMs);
    if (!response.headers.has("x-vercel-ai-ui-message-stream") || !response.body) return response;
    const answer = new ResumedAnswer(response, { fetch, signal, pauses, patienceMs, url: resumeUrl(input, init), headers });
    return new Response(answer.body(), { status: response.status, headers: response.headers });
  };
}

/** Where a chat's answer is resumed: the SDK's own convention. */
function resumeUrl(input, { method = "GET", body }) {
  const url = String(input?.url ?? input);
  if (method.toUpperCase() === "GET") return url;
  const [path, query] = url.split("?");
  return `${path}/${encodeURIComponent(JSON.parse(body).id)}/stream${query === undefined ? "" : `?${query}`}`;
}

/** One answer's events, over as many connections as it takes. */
class ResumedAnswer {
  #response;
  #options;
  #streamId;
  #cursor = "";
  #over = false;
  #held = [];

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
        const send = (text) => gone.signal.aborted || controller.enqueue(encoder.encode(text));
        try {
          await this.#run(send, AbortSignal.any([gone.signal, this.#options.signal]));
          if (!gone.signal.aborted) controller.close();
        } catch (error) {
          if (!gone.signal.aborted) controller.error(error);
        }
      },
      cancel: () => gone.abort(),
    });
  }

  async #run(send, signal) {
    const { pauses, patienceMs } = this.#options;
    let connection = new AbortController();
    for (;;) {
      signal.addEventListener("abort", () => connection.abort(), { signal: connection.signal });
      try {
        await readEvents(this.#response, connection, pauses, (event) => this.#take(event, send));
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
      } finally {
        connection.abort();
      }
      if (this.#over) return;
      signal.throwIfAborted();
      this.#held = [];
      connection = new AbortController();
      await pauses.pause(signal);
      await insist(() => this.#reconnect(connection.signal, send), pauses, signal, patienceMs);
      if (this.#over) return;
    }
  }

  async #reconnect(signal, send) {
    const { fetch, url, pauses } = this.#options;
    const headers = new Headers(this.#options.headers);
    headers.delete("content-type");
    if (this.#cursor) headers.set("Last-Event-ID", this.#cursor);
    this.#response = await ask(fetch, url, { headers, signal, cache: "no-store" }, pauses);
    const ours = this.#response.ok && this.#response.headers.get("Stream-Id") === this.#streamId;
    if (ours && this.#response.status !== 204) return;
    this.#over = true;
    await this.#response.body?.cancel();
    send(`data: ${JSON.stringify({ type: "error", errorText: "This answer cannot be read any further." })}\n\ndata: [DONE]\n\n`);
  }

  /** Passes events on in whole entries, whose last event carries the cursor: none is cut in its middle. */
  #take({ id, type, data }, send) {
    if (this.#over || type === "parting") return;
    const part = data === "[DONE]" ? { type: data } : JSON.parse(data);
    // The boundary of a replay: what was continued by a cursor is no replay to the SDK.
    if (part.type === "data-replay" && this.#cursor) return;
    this.#held.push(`data: ${data}\n\n`);
    this.#over = part.type === "[DONE]";
    if (id === this.#cursor && !this.#over) return;
    this.#options.pauses.succeeded();
    this.#cursor = id;
    send(this.#held.join(""));
    this.#held = [];
  }
}

/** Tries until it succeeds, or the patience is at its end. */
async function insist(attempt, pauses, signal, patienceMs) {
  const end = Date.now() + patienceMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof Cut)) throw error;
      if (Date.now() > end) throw new TypeError("network error: the broker cannot be reached", { cause: error });
    }
    await pauses.pause(signal);
  }
}

async function overNetwork(promise) {
  try {
    return await promise;
  } catch (cause) {
    throw new Cut("the connection was cut", { cause });
  }
}

function unlessAborted(signal) {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}

function isHidden() {
  return globalThis.document?.hidden ?? false;
}

function onVisibility(act, scope) {
  globalThis.document?.addEventListener("visibilitychange", act, scope);
}

/** Waits `ms`, or for ever; coming online, a change of visibility and `signal` end it. */
function wait(signal, ms) {
  return new Promise((resolve) => {
    const scope = new AbortController();
    const timer = new Timer(wake);
    function wake() {
      scope.abort();
      timer.stop();
      resolve();
    }
    if (ms !== undefined) timer.start(ms);
    if (signal.aborted) wake();
    globalThis.window?.addEventListener("online", wake, { signal: scope.signal });
    onVisibility(wake, { signal: scope.signal });
    signal.addEventListener("abort", wake, { signal: scope.signal });
  });
}

class Timer {
  #act;
  #id;

  constructor(act) {
    this.#act = act;
  }

  start(ms) {
    clearTimeout(this.#id);
    this.#id = setTimeout(this.#act, ms);
  }

  stop() {
    clearTimeout(this.#id);
  }
}
