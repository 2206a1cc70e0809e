/** Shows one answer while it is being written. */

import { element } from "./dom.js";
import { GrowingText } from "./growing_text.js";

const TITLES = {
  completed: "Completed",
  failed: "Failed",
  cancelled: "Stopped",
  interrupted: "Interrupted",
};
const CUT_SHORT = {
  length: "The model reached its length limit: the answer is cut there.",
  content_filter: "The provider's content filter ended the answer.",
  refusal: "The model refused.",
};

/** Reasons of a reset that is the last entry. */
const GONE = { deleted: "The answer was deleted", gone: "The answer has expired" };

/** An outcome in the reader's words. */
export function outcomeTitle(outcome) {
  return TITLES[outcome] ?? outcome;
}

/** After a frame that took so many ms to show, the page is left to its reader for as many more, times this. */
const REST = 3;

/**
 * An answer's element. Entries are queued, and appended once per animation frame, so that nothing on the page is rendered
 * twice. The model's text is Markdown; all else is inserted as text, never as markup.
 */
export class Answer {
  element = element("article", { className: "answer", ariaLabel: "Answer", ariaBusy: "true" });
  outcome = null;
  #body = element("div", { className: "body" });
  /** Notes on the answer are below it, because in its middle they would split a sentence. */
  #notes = element("div", { className: "notes" });
  #queue = [];
  #frame = 0;
  #restUntilMs = 0;
  #block = null;
  #tools = new Map();
  #texts = [];
  #around;

  /** @param {(show: () => void) => void} around calls `show`, and keeps the page's scroll position */
  constructor(around) {
    this.#around = around;
    this.element.append(this.#body, this.#notes);
    this.element.classList.add("live");
    this.element.source = () => this.text;
  }

  /** The answer's text so far, as the model wrote it. */
  get text() {
    return this.#texts.join("");
  }

  take(entry) {
    if (entry.type === "text") this.#texts.push(entry.text);
    else if (entry.type === "reset") this.#texts = [];
    else if (entry.type === "end") this.outcome = entry.outcome;
    this.#queue.push(entry);
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  /** Shows an answer of the past at once. */
  recall(entries, outcome) {
    for (const entry of entries) {
      if (entry.type === "text") this.#texts.push(entry.text);
      this.#show(entry);
    }
    this.outcome = outcome;
    this.#settle();
  }

  /** Shows why nothing more will come although the answer has no end. */
  lost(reason) {
    this.#settle();
    this.element.append(verdict("lost", "This answer cannot be read", { message: reason }));
  }

  #flush() {
    const beganMs = performance.now();
    this.#frame = beganMs < this.#restUntilMs ? requestAnimationFrame(() => this.#flush()) : 0;
    if (this.#frame) return;
    const entries = joined(this.#queue);
    this.#queue = [];
    this.#around(() => {
      entries.forEach((entry) => this.#show(entry));
      this.#block?.markdown?.draw();
    });
    const endMs = performance.now();
    this.#restUntilMs = endMs + REST * (endMs - beganMs);
  }

  #show(entry) {
    switch (entry.type) {
      case "start":
      case "usage":
      case "step": // of which clients are told only that it is there
        return;
      case "text":
        return this.#run("text").markdown.append(entry.text);
      case "reasoning":
        return this.#run("reasoning").target.append(entry.text);
      case "tool_input":
        return this.#tool(entry).append(entry.delta);
      case "tool_call":
        return this.#tool(entry).replaceChildren(entry.arguments);
      case "status":
        return this.#note(`${sentence(entry.state)}${entry.reason ? `: ${sentence(entry.reason).toLowerCase()}` : ""}`, entry.paid);
      case "data":
        if (entry.kind === "refusal") return this.#run("refusal").target.append(entry.text);
        return this.#other(entry);
      case "reset":
        return this.#reset(entry);
      case "end":
        return this.#end(entry);
      default:
        return this.#other(entry);
    }
  }

  /** The block to which text of this kind is appended. After another kind it is a new one. */
  #run(kind) {
    if (this.#block?.kind !== kind) {
      this.#close();
      const target = element("div", { className: kind, dir: "auto" });
      const fold = () => element("details", { className: "fold" }, element("summary", {}, "Reasoning"), target);
      this.#body.append(kind === "reasoning" ? fold() : target);
      this.#block = { kind, target, markdown: kind === "text" ? new GrowingText(target) : null };
    }
    return this.#block;
  }

  /** Shows the last block as it stays. */
  #close() {
    this.#block?.markdown?.finish();
    this.#block = null;
  }

  #tool({ id, name }) {
    if (!this.#tools.has(id)) {
      const code = element("code");
      this.#append(block("tool", name, code));
      this.#tools.set(id, code);
    }
    return this.#tools.get(id);
  }

  #other({ type, offset, ...data }) {
    this.#append(block(type.replaceAll("_", " "), "", element("code", {}, JSON.stringify(data))));
  }

  #note(text, paid = false) {
    this.#notes.append(element("p", { className: "note" }, text, paid ? " (one more paid call)" : ""));
  }

  #append(node) {
    this.#close();
    this.#body.append(node);
  }

  #reset({ reason }) {
    this.#body.replaceChildren();
    this.#block = null;
    this.#tools.clear();
    if (GONE[reason]) this.#note(GONE[reason]);
    else this.#note(`Started again${reason ? `: ${sentence(reason).toLowerCase()}` : ""}`);
  }

  #end({ outcome, finish_reason: finish, error, usage, timings }) {
    this.#settle();
    const title = outcomeTitle(outcome);
    if (outcome === "completed") {
      const facts = [title];
      if (usage?.output_tokens) facts.push(`${usage.output_tokens} tokens`);
      if (timings?.total_ms) facts.push(`${(timings.total_ms / 1_000).toFixed(1)} s`);
      if (CUT_SHORT[finish]) facts.splice(0, 1, CUT_SHORT[finish]);
      const className = `outcome completed ${CUT_SHORT[finish] ? "short" : ""}`;
      this.element.append(element("p", { className }, facts.join(" · ")));
      return;
    }
    const incomplete = this.text ? "The text above is not a whole answer." : "There is no answer.";
    this.element.append(verdict(outcome, title, { ...error, incomplete }));
  }

  #settle() {
    this.#close();
    this.element.classList.remove("live");
    this.element.ariaBusy = "false";
  }
}

function verdict(outcome, title, { code, message, incomplete }) {
  const box = element("div", { className: `outcome ${outcome}` }, element("strong", {}, title));
  if (code) box.append(" ", element("code", {}, code));
  for (const line of [message, incomplete]) if (line) box.append(element("p", {}, line));
  return box;
}

/** What is not for every reader: folded, with its kind and its name. */
function block(label, name, code) {
  const summary = element("summary", {}, element("span", {}, label), name && ` ${name}`);
  const figure = element("figure", {}, element("pre", { tabIndex: 0 }, code));
  return element("details", { className: "block" }, summary, figure);
}

/** Joins neighbouring pieces of text, so that a long replay makes few nodes. */
function joined(entries) {
  const runs = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    const same = last?.type === entry.type && (entry.type === "text" || entry.type === "reasoning");
    if (same) last.pieces.push(entry.text);
    else runs.push({ ...entry, pieces: [entry.text] });
  }
  return runs.map(({ pieces, ...entry }) => (pieces.length > 1 ? { ...entry, text: pieces.join("") } : entry));
}

function sentence(word) {
  const text = String(word).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
