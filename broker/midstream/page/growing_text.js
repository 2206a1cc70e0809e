/**
 * Shows Markdown that grows. Finished blocks are made once and stay; only the last one, which may still change, is made
 * anew, and of its nodes those that changed.
 */

import { element } from "./dom.js";
import { colour } from "./framed_blocks.js";
import { LINE_END, blocksOf, elementsOf } from "./markdown.js";

/** A definition, which may stand after the links that need it. */
const DEFINITION = /^ {0,3}\[[^\]]+\]:/m;

/** So many blocks are in one part. With fewer, looking which part is in sight would cost what it spares. */
const BLOCKS_OF_A_PART = 16;

export class GrowingText {
  /** The Markdown so far. */
  source = "";
  element;
  #settled = 0;
  #open = [];
  #changed = false;

  constructor(element) {
    this.element = element;
  }

  append(text) {
    this.source += text;
    this.#changed = true;
  }

  /** Shows what was appended since the last call. */
  draw() {
    if (!this.#changed) return;
    this.#changed = false;
    const text = this.source.slice(this.#settled);
    const blocks = blocksOf(text);
    const starts = lineStarts(text);
    // The last line may go on, and then turn out to be a part of the block before it.
    const open = blocks.findLastIndex(({ start }) => start + 1 < starts.length);
    if (open > 0) {
      this.#show(blocks.slice(0, open), true);
      this.#settled += starts[blocks[open].start];
      this.#open = [];
    }
    this.#show(blocks.slice(Math.max(open, 0)), false);
  }

  /** Shows all of it as it stays, because nothing more will come. */
  finish() {
    if (DEFINITION.test(this.source)) {
      this.element.replaceChildren();
      this.#open = [];
      this.#settled = 0;
    }
    this.#show(blocksOf(this.source.slice(this.#settled)), true);
    this.#settled = this.source.length;
    this.#open = [];
    this.#changed = false;
  }

  #show(blocks, isFinished) {
    const made = elementsOf(blocks);
    const drawn = made.map((node, index) => this.#place(this.#open[index], node));
    this.#open.slice(made.length).forEach(removeFromPart);
    this.#open = drawn;
    if (isFinished) drawn.forEach(colour);
  }

  #place(old, node) {
    if (!old) this.#part().append(node);
    return old ? patched(old, node) : node;
  }

  /** Where the next block goes. A part that is out of sight costs nothing when the page is drawn. */
  #part() {
    const last = this.element.lastElementChild;
    if (last && last.childElementCount < BLOCKS_OF_A_PART) return last;
    const part = element("div", { className: "part" });
    this.element.append(part);
    return part;
  }
}

/** Removes a block, and its part where nothing else is in it. */
function removeFromPart(block) {
  const part = block.parentElement;
  block.remove();
  if (!part.childElementCount) part.remove();
}

/** Makes an element equal to a newer one by the fewest changes, and returns the one that is on the page. */
function patched(old, newer) {
  if (old.isEqualNode(newer)) return old;
  if (old.nodeName !== newer.nodeName) {
    old.replaceWith(newer);
    return newer;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    appendTo(old, newer.data);
    return old;
  }
  for (const { name } of [...old.attributes]) if (!newer.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of newer.attributes) old.setAttribute(name, value);
  const [olds, newers] = [[...old.childNodes], [...newer.childNodes]];
  newers.forEach((node, index) => (olds[index] ? patched(olds[index], node) : old.append(node)));
  olds.slice(newers.length).forEach((node) => node.remove());
  return old;
}

/** Appends to a text what is new, so that a selection in it stays. */
function appendTo(node, text) {
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}

/** The offsets of a text's lines. */
function lineStarts(text) {
  return [0, ...Array.from(text.matchAll(LINE_END), ({ index, 0: end }) => index + end.length)];
}
