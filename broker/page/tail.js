/**
 * Reads a stream's events until its end, and comes back by itself where it was.
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

/** Parses `text/event-stream` as the HTML standard says, from text that arrives in any pieces. */
export class EventStreamParser {
  #onEvent;
  #onRetry;
  #rest = "";
  #afterCr = false;
  #id = "";
  #type = "";
  #data = [];

  /**
   * @param {(event: {id: string, type: string, data: string}) => void} onEvent
   * @param {(ms: number) => void} onRetry
   */
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

/** The broker refused for good; `problem` is its problem document. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The broker answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
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
  #failures = 0;
  #retryMs = 1_000;
  #retryAfterMs = 0;

  /**
   * @param {string} url of the stream's events
   * @param {object} options `onEntry(entry)` gets each entry once and in order, `entry.offset` with it;
   *   `onConnection(state)` gets `connecting`, `live`, `reconnecting`, `paused` (the tab is hidden), `ended`
   */
  constructor(url, { onEntry, onConnection = () => {}, headers = {}, after = 0 }) {
    this.#url = url;
    this.#headers = headers;
    this.#onEntry = onEntry;
    this.#onConnection = onConnection;
    this.cursor = after;
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
    this.#onConnection("connecting");
    while (!this.#done) {
      if (document.hidden) await this.#untilVisible();
      if (this.#done) break;
      try {
        await this.#connect();
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
      }
      if (!this.#done && !document.hidden) await this.#pause();
    }
    if (this.#ended) this.#onConnection("ended");
  }

  get #done() {
    return this.#ended || this.#closing.signal.aborted;
  }

  async #connect() {
    const connection = new AbortController();
    const cut = () => connection.abort();
    const silence = new Timer(cut);
    const hidden = new Timer(cut);
    const watch = () => (document.hidden ? hidden.start(HIDDEN_MS) : hidden.stop());
    const scope = { signal: connection.signal };
    document.addEventListener("visibilitychange", watch, scope);
    this.#closing.signal.addEventListener("abort", cut, scope);
    try {
      silence.start(SILENCE_MS);
      const response = await this.#request(connection.signal);
      if (response) await this.#read(response, silence);
    } finally {
      silence.stop();
      hidden.stop();
      connection.abort();
    }
  }

  async #request(signal) {
    const headers = { ...this.#headers, Accept: "text/event-stream" };
    if (this.cursor > 0) headers["Last-Event-ID"] = String(this.cursor);
    const response = await overNetwork(fetch(this.#url, { headers, signal, cache: "no-store" }));
    if (response.status === 204) {
      this.#ended = true;
      return null;
    }
    if (WORTH_ANOTHER_TRY.has(response.status)) {
      this.#retryAfterMs = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
      return null;
    }
    if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
    return response;
  }

  async #read(response, silence) {
    const parser = new EventStreamParser((event) => this.#take(event), (ms) => (this.#retryMs = ms));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    this.#onConnection("live");
    while (!this.#done) {
      const { value, done } = await overNetwork(reader.read());
      if (done) return;
      silence.start(SILENCE_MS);
      parser.feed(value);
    }
  }

  #take(event) {
    if (this.#done) return;
    const entry = { ...JSON.parse(event.data), offset: Number(event.id) };
    // Told by the broker itself and not from the log: what was read so far is void.
    const outsideLog = entry.type === "reset" && entry.offset === 0;
    if (!outsideLog && entry.offset <= this.cursor) return;
    if (!outsideLog && entry.offset !== this.cursor + 1) throw new Cut("an offset was skipped");
    this.cursor = entry.offset;
    this.#failures = 0;
    this.#ended = entry.type === "end";
    this.#onEntry(entry);
  }

  /** Waits before the next try, with full jitter; coming online or back to the tab ends the wait. */
  #pause() {
    this.#onConnection("reconnecting");
    const ceiling = Math.min(MAX_PAUSE_MS, this.#retryMs * 2 ** Math.min(this.#failures, 10));
    const ms = this.#retryAfterMs + Math.random() * ceiling;
    this.#failures += 1;
    this.#retryAfterMs = 0;
    return this.#wait(ms);
  }

  async #untilVisible() {
    this.#onConnection("paused");
    while (document.hidden && !this.#done) await this.#wait();
    this.#onConnection("reconnecting");
  }

  #wait(ms) {
    return new Promise((resolve) => {
      const scope = new AbortController();
      const timer = new Timer(wake);
      function wake() {
        scope.abort();
        timer.stop();
        resolve();
      }
      if (ms !== undefined) timer.start(ms);
      if (this.#done) wake();
      window.addEventListener("online", wake, { signal: scope.signal });
      document.addEventListener("visibilitychange", wake, { signal: scope.signal });
      this.#closing.signal.addEventListener("abort", wake, { signal: scope.signal });
    });
  }
}

/** This connection is over, the stream is not: read on from the cursor. */
class Cut extends Error {}

async function overNetwork(promise) {
  try {
    return await promise;
  } catch (cause) {
    throw new Cut("the connection was cut", { cause });
  }
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
