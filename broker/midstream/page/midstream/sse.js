/** Server-sent events, read from a response's body. */

import { overNetwork } from "./network.js";

/** Parses `text/event-stream` by the HTML standard, from text that arrives in any pieces. */
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

  /** Takes the next piece. An incomplete line waits for the piece after it. */
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

/** Reads the whole events of a response, until it ends or the connection is cut. */
export async function readEvents(response, connection, pauses, onEvent) {
  const parser = new EventStreamParser(onEvent, (ms) => (pauses.retryMs = ms));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  // The response may belong to a request that was sent without this connection's signal.
  connection.signal.addEventListener("abort", () => reader.cancel().catch(() => {}), { once: true });
  try {
    while (!connection.signal.aborted) {
      const { value, done } = await overNetwork(reader.read());
      if (done) return;
      connection.noteBytes();
      parser.feed(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
