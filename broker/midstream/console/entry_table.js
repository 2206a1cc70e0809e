/** A table of any number of entries, of which only the visible ones are on the page. */

import { setText } from "./status.js";
import { NONE, bytes, duration, moment, number } from "./words.js";
import { element } from "/page/dom.js";

const ROW_PX = 28;
/** Browsers make no element that is much higher; a longer table moves by more than a row's height for each row. */
const MOST_PX = 8_000_000;
const TITLES = ["Offset", "Type", "At", "Gap", "Bytes", "Content"];
/** A gap of this length, in ms, is marked. */
const STALL_MS = 1_000;

export class EntryTable {
  element;
  #layer = element("div", { className: "layer" });
  #spacer = element("div", {}, this.#layer);
  #view = element("div", { className: "view", tabIndex: 0 }, this.#spacer);
  #rows = [];
  #pages;
  #beganMs;
  #selected = 0;
  #frame = 0;
  #onFollow;
  #isFollowing = false;

  /**
   * @param {EntryPages} pages
   * @param {{beganMs: number, onSelect: (offset: number) => void, onFollow: (isFollowing: boolean) => void}} how
   *   `beganMs` is when the stream was created; `onFollow` is called when the table starts or stops to follow the tail
   */
  constructor(pages, { beganMs, onSelect, onFollow }) {
    this.#pages = pages;
    this.#beganMs = beganMs;
    this.#onFollow = onFollow;
    const titles = element("div", { className: "entry titles", role: "row" }, ...TITLES.map((text) => element("span", { role: "columnheader" }, text)));
    this.element = element("div", { className: "entries", role: "table", ariaLabel: "Entries" }, titles, this.#view);
    this.#view.role = "rowgroup"; // the one that takes the focus, which no element without a role of its own may
    this.#spacer.role = this.#layer.role = "presentation";
    this.#view.addEventListener("scroll", () => this.#scrolled());
    this.#layer.addEventListener("click", ({ target }) => {
      const row = this.#rows.find(({ line }) => line.contains(target));
      if (row?.offset) onSelect(row.offset);
    });
    new ResizeObserver(() => this.draw()).observe(this.#view);
  }

  get isFollowing() {
    return this.#isFollowing;
  }

  /** Follows the tail, or stays. */
  set isFollowing(value) {
    if (value !== this.#isFollowing) this.#onFollow(value);
    this.#isFollowing = value;
    this.draw();
  }

  /** Shows the end of a log that has ended, if the table has followed it, and stays there. */
  end() {
    if (!this.#isFollowing) return;
    this.#drawNow();
    this.isFollowing = false;
  }

  /** Marks an entry and brings it on view. */
  select(offset) {
    this.#selected = offset;
    this.isFollowing = false;
    const row = offset - this.#pages.first;
    const top = this.#topOf(row - 2);
    const [from, to] = [this.#at(), this.#at() + this.#view.clientHeight / ROW_PX - 1];
    if (row < from || row > to) this.#view.scrollTop = top;
    this.draw();
  }

  /** Draws what is on view, once for each frame of the screen. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawNow();
    });
  }

  get #number() {
    return Math.max(0, this.#pages.tail - this.#pages.first + 1);
  }

  get #height() {
    return Math.min(MOST_PX, this.#number * ROW_PX);
  }

  /** How many rows there are above the view, as a fraction. */
  #at() {
    const most = this.#number - this.#view.clientHeight / ROW_PX;
    const range = this.#height - this.#view.clientHeight;
    return range > 0 ? Math.max(0, (this.#view.scrollTop / range) * most) : 0;
  }

  #topOf(row) {
    const most = this.#number - this.#view.clientHeight / ROW_PX;
    return most > 0 ? (row / most) * (this.#height - this.#view.clientHeight) : 0;
  }

  #scrolled() {
    const isAtEnd = this.#view.scrollTop + this.#view.clientHeight >= this.#spacer.offsetHeight - ROW_PX;
    if (this.#isFollowing && !isAtEnd) this.isFollowing = false;
    this.draw();
  }

  #drawNow() {
    this.#spacer.style.height = `${this.#height}px`;
    this.element.ariaRowCount = this.#number + 1;
    if (this.#isFollowing) this.#view.scrollTop = this.#height;
    const at = this.#at();
    const begin = Math.floor(at);
    const visible = Math.min(this.#number - begin, Math.ceil(this.#view.clientHeight / ROW_PX) + 1);
    while (this.#rows.length < visible) this.#add();
    this.#layer.style.transform = `translateY(${this.#view.scrollTop - (at - begin) * ROW_PX}px)`;
    this.#rows.forEach((row, index) => this.#fill(row, index < visible ? this.#pages.first + begin + index : 0));
    if (visible > 0) this.#pages.want(this.#pages.first + begin, this.#pages.first + begin + visible - 1);
  }

  #add() {
    const cells = TITLES.map(() => element("span", { role: "cell" }));
    const line = element("div", { className: "entry", role: "row" }, ...cells);
    this.#rows.push({ line, cells, offset: 0 });
    this.#layer.append(line);
  }

  #fill(row, offset) {
    row.offset = offset;
    row.line.hidden = offset === 0;
    if (offset === 0) return;
    const entry = this.#pages.row(offset);
    const atMs = entry?.written_ms == null ? null : entry.written_ms - this.#beganMs;
    const texts = [
      number(offset),
      entry?.type ?? "…",
      entry ? (atMs === null ? NONE : `+${duration(atMs)}`) : "",
      entry ? (entry.gapMs == null ? NONE : duration(entry.gapMs)) : "",
      entry ? bytes(entry.bytes) : "",
      entry?.content ?? "",
    ];
    row.cells.forEach((cell, index) => setText(cell, texts[index]));
    row.cells[2].title = entry?.written_ms ? moment(entry.written_ms) : "";
    row.line.ariaRowIndex = offset - this.#pages.first + 2;
    row.line.dataset.type = entry?.type ?? "";
    row.line.classList.toggle("stalled", (entry?.gapMs ?? 0) >= STALL_MS);
    row.line.classList.toggle("selected", offset === this.#selected);
  }
}
