/** Blocks of code and tables, in a frame: the language, a button that copies, and what the keyboard can scroll. */

import { element } from "./dom.js";
import { pure } from "./pure_markup.js";

/** Longer code, in characters, has no colours, because they would keep the page busy. */
const LONGEST_IN_COLOUR = 50_000;
let library = null;

/** Puts a block of code into a frame. */
export function frameCode(pre) {
  const copy = element("button", { type: "button", className: "copy-code quiet" }, "Copy");
  const head = element("figcaption", {}, element("span", {}, languageOf(pre)), copy);
  const figure = element("figure", { className: "code" }, head);
  pre.tabIndex = 0;
  pre.replaceWith(figure);
  figure.append(pre);
}

/** Puts a table into a frame. */
export function frameTable(table) {
  const frame = element("div", { className: "table", tabIndex: 0 });
  table.replaceWith(frame);
  frame.append(table);
}

/** Gives the code in a finished block its colours. The library is loaded with the first code that needs it. */
export async function colour(block) {
  for (const pre of block.querySelectorAll("pre")) {
    const [code, language] = [pre.firstElementChild, languageOf(pre)];
    if (!language || code.textContent.length > LONGEST_IN_COLOUR) continue;
    library ??= import("./vendor/highlight.js");
    const { default: highlighter } = await library;
    if (!highlighter.getLanguage(language)) continue;
    const { value } = highlighter.highlight(code.textContent, { language, ignoreIllegals: true });
    code.replaceChildren(pure(value));
  }
}

function languageOf(pre) {
  return /(?:^|\s)language-(\S+)/.exec(pre.firstElementChild?.className)?.[1] ?? "";
}
