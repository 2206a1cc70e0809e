/** The entries of a stream, asked for by the page where they are looked at, and forgotten when there are too many. */

import { readStream } from "./operate.js";

const PAGE = 100;
/** The most pages that are kept. */
const MOST_PAGES = 30;
/** The most letters of an entry's content that are kept; the whole content is asked for by itself. */
const MOST_LETTERS = 300;
/** Pause, in ms, before pages are asked for, so that one who scrolls through a log asks for its end alone. */
const SETTLES_MS = 40;

export class EntryPages {
  first = 1;
  tail = 0;
  #withContent = false;
  /** By number: `{rows, upto}`, the one that was looked at last at the end. */
  #pages = new Map();
  #missing = [];
  #isAsking = false;
  #stream;
  #signal;
  #onChange;
  #complain;

  /** @param {{signal: AbortSignal, onChange: () => void, complain: Function}} how `onChange` is called when rows came */
  constructor(stream, { signal, onChange, complain }) {
    this.#stream = stream;
    this.#signal = signal;
    this.#onChange = onChange;
    this.#complain = complain;
  }

  /** Notes how far the log goes. */
  bound(first, tail) {
    if (first !== this.first) this.#pages.clear();
    this.first = first;
    this.tail = Math.max(tail, first - 1);
  }

  /** Whether rows have content. */
  set withContent(value) {
    this.#withContent = value;
    this.#pages.clear();
  }

  /**
   * Asks for the log's present end, and in the same request for what is new, if the end is on view.
   * @returns {Promise<boolean>} whether the stream has ended
   */
  async look() {
    const after = Math.max(this.tail, this.first - 1);
    const isOnView = this.#missing.includes(numberOf(Math.max(after, 1)));
    let number = numberOf(after + 1);
    if (this.#pages.get(number)?.upto === (number + 1) * PAGE) number += 1; // it was filled since the last look
    const { first, tail, status } = await (isOnView ? this.#load(number) : this.#read(after, 1, false));
    this.bound(first, tail);
    return status === "ended";
  }

  /** Asks for one entry with all that it holds; undefined: it is not there. */
  async whole(offset) {
    return (await this.#read(offset - 1, 1, true)).data.find((row) => row.offset === offset);
  }

  /** The row of an entry, if it is here. */
  row(offset) {
    return this.#pages.get(numberOf(offset))?.rows.get(offset);
  }

  /** Asks for the entries from one offset to another, unless they are here. A later call takes the place of this one. */
  want(from, to) {
    this.#missing = [];
    for (let number = numberOf(from); number <= numberOf(to); number += 1) this.#missing.push(number);
    if (!this.#isAsking && this.#next() !== undefined) this.#ask();
  }

  async #ask() {
    this.#isAsking = true;
    try {
      await new Promise((resolve) => setTimeout(resolve, SETTLES_MS));
      for (let number = this.#next(); number !== undefined && !this.#signal.aborted; number = this.#next()) {
        await this.#load(number);
        this.#onChange();
      }
    } catch (error) {
      this.#complain(error);
    } finally {
      this.#isAsking = false;
    }
  }

  /** The first page on view that is not here as a whole. */
  #next() {
    return this.#missing.find((number) => {
      const last = Math.min(this.tail, (number + 1) * PAGE);
      return last >= this.first && (this.#pages.get(number)?.upto ?? 0) < last;
    });
  }

  async #load(number) {
    const page = this.#pages.get(number) ?? { rows: new Map(), upto: 0 };
    const withContent = this.#withContent;
    // One entry before the page tells how long the first one of the page was waited for.
    const after = Math.max(page.upto || number * PAGE - 1, this.first - 1);
    const limit = (number + 1) * PAGE - after;
    const answer = await this.#read(after, limit, withContent);
    const { data, tail } = answer;
    if (withContent !== this.#withContent) return answer;
    if (!data.length) this.tail = Math.min(this.tail, tail); // the log is shorter than it was
    let before = page.rows.get(after);
    for (const entry of data) {
      const gapMs = before && entry.written_ms != null && before.written_ms != null ? entry.written_ms - before.written_ms : null;
      page.rows.set(entry.offset, { ...entry, data: undefined, gapMs, content: contentOf(entry) });
      before = entry;
      page.upto = Math.max(page.upto, entry.offset);
    }
    this.#pages.delete(number);
    this.#pages.set(number, page);
    for (const old of this.#pages.keys()) if (this.#pages.size > MOST_PAGES) this.#pages.delete(old);
    return answer;
  }

  #read(after, limit, withContent) {
    const query = `?after=${Math.max(0, after)}&limit=${limit}${withContent ? "&content=true" : ""}`;
    return readStream(this.#stream, `/entries${query}`, { signal: this.#signal });
  }
}

function numberOf(offset) {
  return Math.floor((offset - 1) / PAGE);
}

function contentOf({ data }) {
  if (data === undefined) return "";
  const text = typeof data.text === "string" ? data.text : JSON.stringify(data);
  return text.slice(0, MOST_LETTERS);
}
