/** What a page shows of a stream or a thread, kept up to date for whatever draws it: React, Svelte, Vue, or a few lines of its own. */

import { tail } from "./tail.js";
import { thread } from "./thread.js";

/** Listeners are called once in so many ms at most, about a frame of the screen, however fast entries come. */
const FRAME_MS = 16;

/** An answer of which nothing has been read. */
const NOTHING_READ = Object.freeze({ text: "", reasoning: "", calls: Object.freeze([]), end: null });

/** Returns an answer with one more entry. The answer itself is not changed, so that a page can compare the two. */
export function withEntry(answer, entry) {
  switch (entry.type) {
    case "text":
    case "reasoning":
      return { ...answer, [entry.type]: answer[entry.type] + entry.text };
    case "tool_input":
      return withCall(answer, entry, (call) => ({ ...call, arguments: call.arguments + entry.delta }));
    case "tool_call":
      return withCall(answer, entry, (call) => ({ ...call, arguments: entry.arguments }));
    case "tool_result":
      return withCall(answer, entry, (call) => ({ ...call, result: entry }));
    case "reset":
      return { ...answer, ...NOTHING_READ };
    case "end":
      return { ...answer, end: entry };
    default:
      return answer;
  }
}

function withCall(answer, { id, name = "" }, change) {
  const place = answer.calls.findIndex((call) => call.id === id);
  if (place < 0) return { ...answer, calls: [...answer.calls, change({ id, name, arguments: "", result: null })] };
  return { ...answer, calls: answer.calls.map((call, number) => (number === place ? change(call) : call)) };
}

/**
 * A value that changes while it has listeners. `read(update, signal)` reads until all is read, or until `signal`, and
 * hands each change to `update`, a function from the value to the next one. When listeners come back it is called again.
 */
export class Store {
  #current;
  #next;
  #read;
  #listeners = new Set();
  #reading = null;
  #timer;
  #isComplete = false;

  constructor(value, read) {
    this.#current = this.#next = value;
    this.#read = read;
  }

  /** The value. It stays the same object until listeners are called. */
  getSnapshot = () => this.#current;

  /** Calls `listener` after each change, and reads as long as there is one. Returns the function that takes it away. */
  subscribe = (listener) => {
    const place = { listener };
    this.#listeners.add(place);
    if (!this.#reading && !this.#isComplete) this.#start();
    return () => {
      this.#listeners.delete(place);
      if (this.#listeners.size === 0) this.#stop();
    };
  };

  async #start() {
    const reading = (this.#reading = new AbortController());
    const update = (change) => reading.signal.aborted || this.#change(change);
    if (this.#next.error) update((value) => ({ ...value, error: null }));
    try {
      await this.#read(update, reading.signal);
      if (!reading.signal.aborted) this.#isComplete = true;
    } catch (error) {
      update((value) => ({ ...value, error }));
    }
    if (this.#reading === reading) this.#reading = null;
  }

  #stop() {
    this.#reading?.abort();
    this.#reading = null;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#current = this.#next;
  }

  #change(change) {
    this.#next = change(this.#next);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#current = this.#next;
      for (const { listener } of [...this.#listeners]) listener();
    }, FRAME_MS);
  }
}

/**
 * Returns a stream's answer as a store. With `null` as its URL it stays empty, for a page that has no stream yet. The
 * other options are those of `tail`, except `after`: a store always holds the whole answer.
 */
export function streamStore(url, options) {
  const cursorOf = ({ offset }) => offset;
  return storeOf(NOTHING_READ, { url, read: tail, cursorOf, change: withEntry }, options);
}

/** Returns a thread's streams as a store, each with its answer. It reads as `streamStore` does, by `thread`. */
export function threadStore(url, options) {
  const cursorOf = (_entry, { cursor }) => cursor;
  return storeOf({ streams: Object.freeze([]) }, { url, read: thread, cursorOf, change: withThreadEntry }, options);
}

function withThreadEntry(value, entry, { stream_id }) {
  if (stream_id === "") return { ...value, streams: [] };
  const streams = [...value.streams];
  const place = streams.findIndex((stream) => stream.stream_id === stream_id);
  const stream = streams[place] ?? { ...NOTHING_READ, stream_id, model: null, messages: null, isOver: false, outcome: null };
  streams[place < 0 ? streams.length : place] = withMarker(stream, entry);
  return { ...value, streams };
}

function withMarker(stream, entry) {
  const { type, model, messages, outcome } = entry;
  if (type === "stream_started") return { ...stream, model, messages };
  if (type === "stream_ended") return { ...stream, isOver: true, outcome };
  return withEntry(stream, entry);
}

function storeOf(empty, { url, read, cursorOf, change }, { onEntry = () => {}, onConnection = () => {}, ...options } = {}) {
  let after;
  return new Store({ ...empty, connection: "idle", error: null }, async (update, signal) => {
    if (url === null) return;
    const show = (connection) => {
      update((value) => ({ ...value, connection }));
      onConnection(connection);
    };
    const take = (entry, place) => {
      after = cursorOf(entry, place);
      update((value) => change(value, entry, place));
      onEntry(entry, place);
    };
    await read(url, { ...options, after, signal, onEntry: take, onConnection: show });
  });
}
