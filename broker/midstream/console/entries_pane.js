/** The entries of a stream on its page: the table, what moves it, and one entry in full. */

import { AnswerPane } from "./answer_pane.js";
import { clientsPane } from "./clients_pane.js";
import { EntryPages } from "./entry_pages.js";
import { EntryTable } from "./entry_table.js";
import { setText } from "./status.js";
import { watch } from "./watch.js";
import { bytes, moment, number } from "./words.js";
import { element } from "/page/dom.js";

const EVERY_MS = 1_000;
const ENDED_EVERY_MS = 15_000;

export class EntriesPane {
  element;
  #pages;
  #table;
  #answer;
  #how;
  #live = element("button", { type: "button", className: "quiet small" }, "Follow");
  #offset = element("input", { type: "number", min: 1, name: "offset", placeholder: "Offset", ariaLabel: "Offset" });
  #content = element("input", { type: "checkbox" });
  #title = element("h2", {}, "One entry");
  #facts = element("p", { className: "dim" }, "Choose an entry in the table, or jump to its offset.");
  #show = element("button", { type: "button", className: "quiet small", hidden: true }, "Show its content");
  #whole = element("pre", { className: "content", tabIndex: 0, hidden: true });
  #chosen = 0;

  /**
   * @param report what the stream's report is
   * @param {{signal: AbortSignal, complain: Function, onSelect: (offset: number) => void, onEnd: () => void}} how
   *   `onEnd` is called once the stream has ended
   */
  constructor(stream, report, how) {
    this.#how = how;
    this.#pages = new EntryPages(stream, { ...how, onChange: () => this.#table.draw() });
    this.#pages.bound(report.first, report.tail);
    this.#table = new EntryTable(this.#pages, {
      beganMs: report.created_ms,
      onSelect: how.onSelect,
      onFollow: (isFollowing) => this.#showFollowing(isFollowing),
    });
    this.#answer = new AnswerPane(stream, how);
    const jump = element("form", { className: "line" }, this.#offset, element("button", { type: "submit", className: "quiet small" }, "Jump"));
    const bar = element("div", { className: "line" }, element("h2", {}, "Entries"), this.#live, jump, element("label", { className: "tick" }, this.#content, "Show content"));
    const one = element("section", { className: "panel" }, this.#title, this.#facts, this.#show, this.#whole);
    this.element = element("div", { className: "log" }, element("div", {}, bar, this.#table.element), element("div", {}, one, this.#answer.element, clientsPane(stream, how)));
    jump.addEventListener("submit", (event) => {
      event.preventDefault();
      const offset = Number(this.#offset.value);
      if (offset) how.onSelect(Math.min(Math.max(offset, this.#pages.first), this.#pages.tail));
    });
    this.#live.addEventListener("click", () => (this.#table.isFollowing = !this.#table.isFollowing));
    this.#content.addEventListener("change", () => {
      this.#pages.withContent = this.#content.checked;
      this.#table.draw();
    });
    this.#show.addEventListener("click", () => this.#showWhole().catch(how.complain));
    this.#live.disabled = report.status === "ended";
    this.#table.isFollowing = !this.#live.disabled;
    this.#watch();
  }

  /** Brings an entry on view. */
  select(offset) {
    this.#chosen = offset;
    this.#table.select(offset);
    this.#showOne();
  }

  #watch() {
    watch(async () => {
      const isOver = await this.#pages.look();
      if (isOver) this.#end();
      this.#answer.bound(this.#pages.first, this.#pages.tail);
      this.#table.draw();
      return isOver ? ENDED_EVERY_MS : EVERY_MS;
    }, { everyMs: EVERY_MS, ...this.#how });
  }

  #end() {
    if (this.#live.disabled) return;
    this.#live.disabled = true;
    this.#table.end();
    this.#how.onEnd();
  }

  #showFollowing(isFollowing) {
    setText(this.#live, isFollowing ? "Pause" : "Follow");
    this.#live.ariaPressed = String(isFollowing);
  }

  async #showOne() {
    setText(this.#title, `Entry ${number(this.#chosen)}`);
    setText(this.#facts, "");
    this.#whole.hidden = true;
    this.#whole.textContent = "";
    this.#show.hidden = false;
  }

  async #showWhole() {
    const offset = this.#chosen;
    const entry = await this.#pages.whole(offset);
    if (offset !== this.#chosen) return;
    if (!entry) return setText(this.#facts, "There is no such entry.");
    setText(this.#facts, `${entry.type}, attempt ${entry.epoch}, ${bytes(entry.bytes)}, written ${moment(entry.written_ms)}`);
    const { text } = entry.data;
    this.#whole.textContent = typeof text === "string" ? text : JSON.stringify(entry.data, null, 2);
    this.#whole.hidden = false;
    this.#show.hidden = true;
  }
}
