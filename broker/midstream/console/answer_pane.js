/** The answer as its clients have it so far: hidden, and not asked for, before the operator opens it. */

import { readStream } from "./operate.js";
import { setText } from "./status.js";
import { count, number } from "./words.js";
import { element } from "/page/dom.js";

const PAGE = 1_000;
/** The most letters on the page; of a longer answer the last ones are shown. */
const MOST_LETTERS = 200_000;

export class AnswerPane {
  #note = element("p", { className: "dim" });
  #text = document.createTextNode("");
  #pre = element("pre", { className: "content", tabIndex: 0 }, this.#text);
  element = element("details", { className: "panel" }, element("summary", {}, "The answer so far"), this.#note, this.#pre);
  #stream;
  #how;
  #after = 0;
  #upto = 0;
  #letters = 0;
  #isReading = false;

  /** @param {{signal: AbortSignal, complain: Function}} how */
  constructor(stream, how) {
    this.#stream = stream;
    this.#how = how;
    this.element.addEventListener("toggle", () => {
      this.#clear();
      this.#after = this.#first - 1;
      this.#read();
    });
  }

  #first = 1;

  /** Notes how far the log goes; an open pane reads on to there. */
  bound(first, tail) {
    this.#first = first;
    this.#upto = tail;
    this.#read();
  }

  async #read() {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.element.open && this.#after < this.#upto && !this.#how.signal.aborted) {
        const after = Math.max(this.#after, this.#first - 1);
        const query = `/entries?after=${after}&limit=${PAGE}&content=true`;
        const { data } = await readStream(this.#stream, query, { signal: this.#how.signal });
        if (!data.length) break;
        if (this.#after > after) continue; // it was closed and opened meanwhile
        data.forEach((entry) => this.#take(entry));
        this.#after = data.at(-1).offset;
        this.#tell();
      }
    } catch (error) {
      this.element.open = false;
      this.#how.complain(error);
    } finally {
      this.#isReading = false;
    }
  }

  #take({ type, data }) {
    if (type === "reset") return this.#clear();
    if (type !== "text") return undefined;
    this.#letters += data.text.length;
    this.#text.appendData(data.text);
    if (this.#text.length > MOST_LETTERS) this.#text.deleteData(0, this.#text.length - MOST_LETTERS);
    return undefined;
  }

  #clear() {
    this.#letters = 0;
    this.#text.data = "";
  }

  #tell() {
    const left = this.#letters - this.#text.length;
    const cut = left > 0 ? `, the first ${number(left)} are left out` : "";
    setText(this.#note, `${count(this.#letters, "letter")}${cut}, up to entry ${number(this.#after)}`);
  }
}
