/** One stream: what it is, why it stands where it stands, its entries, and what can be done about it. */

import { ACTS, doAct } from "./acts.js";
import { streamAddress } from "./address.js";
import { EntriesPane } from "./entries_pane.js";
import { readStream } from "./operate.js";
import { setStatus, setText, statusMark, statusOf } from "./status.js";
import { StreamFacts } from "./stream_facts.js";
import { StreamPlots } from "./stream_plots.js";
import { copyCommand, exportLines } from "./take_away.js";
import { watch } from "./watch.js";
import { element } from "/page/dom.js";

/** The shortest pauses between two looks, in ms. After a look that took long the pause is so many times as long. */
const EVERY_MS = 2_000;
const SHAPE_EVERY_MS = 5_000;
const ENDED_EVERY_MS = 30_000;
const REST = 50;
/** The shape came before the report, without which it cannot be shown. */
const SOON_MS = 300;

export function show({ main, place, go, complain, signal }) {
  const view = new StreamView(place, { go, complain, signal });
  main.append(...view.elements);
  view.look();
  return (next) => view.select(Number(next.params.get("offset")));
}

class StreamView {
  #place;
  #how;
  #mark = statusMark();
  #why = element("p", { className: "why" });
  #facts = new StreamFacts();
  #plots = new StreamPlots();
  #log = element("div");
  #entries = null;
  #report = null;
  #looking = new AbortController();
  #acts;
  elements;

  constructor(place, how) {
    this.#place = place;
    this.#how = how;
    this.#acts = Object.entries(ACTS).map(([name, { label }]) => {
      const button = this.#button(label, () => this.#act(name), name === "delete" ? "quiet bad small" : "quiet small");
      button.hidden = true;
      return [name, button];
    });
    const copy = this.#button("Copy curl", () => copyCommand(place));
    const save = this.#button("Export NDJSON", () =>
      exportLines(place, (text) => setText(save, text), how.signal).finally(() => setText(save, "Export NDJSON")),
    );
    this.elements = [
      element("div", { className: "head" }, element("h1", { className: "mono" }, place.id), this.#mark),
      this.#why,
      element("div", { className: "line" }, ...this.#acts.map(([, button]) => button), element("div", { className: "buttons aside" }, copy, save)),
      this.#facts.element,
      this.#plots.element,
      this.#log,
    ];
    for (const each of this.elements.slice(1)) each.hidden = true; // until it is certain that there is such a stream
    how.signal.addEventListener("abort", () => this.#looking.abort());
  }

  /** Looks at the stream, at once and then again and again. */
  look() {
    this.#looking.abort();
    if (this.#how.signal.aborted) return;
    this.#looking = new AbortController();
    const how = { signal: this.#looking.signal, complain: this.#how.complain };
    watch(() => this.#read(), { everyMs: EVERY_MS, ...how });
    watch(() => this.#readShape(), { everyMs: SHAPE_EVERY_MS, ...how, complain: () => {} }); // the report complains
  }

  /** Brings an entry on view; 0: none. */
  select(offset) {
    if (offset > 0 && this.#entries) this.#entries.select(offset);
  }

  async #read() {
    const { signal } = this.#looking;
    const beganMs = performance.now();
    const report = await readStream(this.#place, "", { signal });
    if (signal.aborted) return undefined;
    this.#report = report;
    setStatus(this.#mark, statusOf(report));
    setText(this.#why, report.why);
    for (const each of this.elements) each.hidden = false;
    this.#facts.show(report);
    for (const [name, button] of this.#acts) button.hidden = !ACTS[name].isOf(report);
    if (!this.#entries) this.#begin(report);
    return this.#pause(EVERY_MS, beganMs);
  }

  async #readShape() {
    const { signal } = this.#looking;
    const beganMs = performance.now();
    const spread = await readStream(this.#place, "/shape", { signal });
    if (signal.aborted || !this.#report) return SOON_MS;
    this.#plots.show(spread, this.#report, (offset) => this.#goTo(offset));
    return this.#pause(SHAPE_EVERY_MS, beganMs);
  }

  #pause(everyMs, beganMs) {
    return this.#report.status === "ended" ? ENDED_EVERY_MS : Math.max(everyMs, REST * (performance.now() - beganMs));
  }

  #begin(report) {
    this.#entries = new EntriesPane(this.#place, report, {
      ...this.#how,
      onSelect: (offset) => this.#goTo(offset),
      onEnd: () => this.look(),
    });
    this.#log.replaceChildren(this.#entries.element);
    this.select(Number(this.#place.params.get("offset")));
  }

  #goTo(offset) {
    this.#how.go(`${location.pathname}?offset=${offset}`, { replace: new URLSearchParams(location.search).has("offset") });
  }

  #button(label, does, className = "quiet small") {
    const button = element("button", { type: "button", className }, label);
    button.addEventListener("click", () => does().catch(this.#how.complain));
    return button;
  }

  async #act(name) {
    const answer = await doAct(name, this.#place);
    if (answer === null) return;
    if (name === "delete") this.#how.go("/console/streams", { replace: true });
    else if (answer.requeued_from) this.#how.go(streamAddress(answer.tenant, answer.id));
    else this.look();
  }
}
