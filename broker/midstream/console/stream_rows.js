/** The rows of the list. A row is kept while its stream is on the page, so that the focus stays where it is. */

import { nowMs } from "./operate.js";
import { NONE, moment, number, shortly } from "./words.js";
import { setStatus, setText, statusMark, statusOf } from "./status.js";
import { streamAddress } from "./address.js";
import { element } from "/page/dom.js";

const COLUMNS = [
  ["Status", ""],
  ["Stream", ""],
  ["Tenant", "wide"],
  ["User", "wide"],
  ["Model", "wide"],
  ["Attempts", "wide number"],
  ["Entries", "number"],
  ["Last entry", "number"],
  ["Age", "number"],
];
/** A running stream without an entry for so long, in ms, is marked. */
const SILENT_MS = 30_000;

export class StreamRows {
  #rows = new Map();
  #body = element("tbody");
  table;

  constructor() {
    const head = element("tr", {}, ...COLUMNS.map(([title, className]) => element("th", { scope: "col", className }, title)));
    this.table = element("table", { className: "streams" }, element("thead", {}, head), this.#body);
    this.table.append(element("caption", { className: "unseen" }, "Streams, newest first"));
  }

  get number() {
    return this.#rows.size;
  }

  /** Shows these streams, in this order. */
  show(streams) {
    const names = new Set(streams.map(nameOf));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    let next = this.#body.firstChild;
    for (const stream of streams) {
      const row = this.#rows.get(nameOf(stream)) ?? this.#added(stream);
      row.fill(stream);
      if (row.element === next) next = next.nextSibling;
      else this.#body.insertBefore(row.element, next);
    }
  }

  /** Moves the focus by some rows; without a focus, to the first one. */
  move(step) {
    const links = [...this.#body.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
  }

  /** The stream whose row has the focus, or undefined. */
  get focused() {
    const row = document.activeElement?.closest("tr");
    return [...this.#rows.values()].find((each) => each.element === row)?.stream;
  }

  #added(stream) {
    const row = new Row(stream);
    this.#rows.set(nameOf(stream), row);
    return row;
  }
}

class Row {
  stream;
  element;
  #mark = statusMark();
  #code = element("span", { className: "code" });
  #cells = COLUMNS.slice(5).map(([, className]) => element("td", { className }));

  constructor({ tenant, id, user, model }) {
    const link = element("a", { href: streamAddress(tenant, id) }, id);
    const under = element("span", { className: "narrow" }, [tenant, user, model].filter(Boolean).join(" · "));
    const wide = [tenant, user ?? NONE, model].map((text) => element("td", { className: "wide clip", title: text }, text));
    this.element = element(
      "tr",
      {},
      element("td", {}, this.#mark),
      element("td", { className: "id" }, link, under, this.#code),
      ...wide,
      ...this.#cells,
    );
  }

  fill(stream) {
    this.stream = stream;
    const { status, code, epoch, tail, created_ms: createdMs, last_entry_ms: lastMs } = stream;
    const silentMs = nowMs() - (lastMs ?? createdMs);
    const texts = [number(epoch), number(tail), lastMs == null ? NONE : shortly(silentMs), shortly(nowMs() - createdMs)];
    setStatus(this.#mark, statusOf(stream));
    setText(this.#code, code ?? "");
    this.#cells.forEach((cell, index) => setText(cell, texts[index]));
    this.#cells[3].title = moment(createdMs);
    this.element.classList.toggle("silent", status === "running" && silentMs > SILENT_MS);
    this.element.classList.toggle("again", epoch > 1);
  }
}

function nameOf({ tenant, id }) {
  return `${tenant}/${id}`;
}
