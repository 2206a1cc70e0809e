/**
 * Makes elements of Markdown that a model wrote, and which may be hostile. Markup in the text stays text, links lead to
 * `http`, `https` and `mailto` alone, and images become links: the page shows nothing of another host. DOMPurify lets only the
 * elements through that Markdown can make, and the page's policy forbids what both would have missed.
 */

import { frameCode, frameTable } from "./framed_blocks.js";
import { SAFE_LINK, pure } from "./pure_markup.js";
import MarkdownIt from "./vendor/markdown_it.js";

/** What ends a line of Markdown. */
export const LINE_END = /\r\n?|\n/g;
/** So many levels of lists and quotations the parser reads; it would read a hundred, and drop what is below. */
const DEEPEST = 98;
const parser = new MarkdownIt("default", { html: false, linkify: true, breaks: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false }); // README.md is a file, and no host
parser.validateLink = (url) => SAFE_LINK.test(url);
Object.assign(parser.renderer.rules, {
  link_open(tokens, index, options, env, renderer) {
    tokens[index].attrSet("target", "_blank");
    tokens[index].attrSet("rel", "noopener noreferrer nofollow");
    return renderer.renderToken(tokens, index, options);
  },
  image(tokens, index) {
    const { attrs, content } = tokens[index];
    const source = parser.utils.escapeHtml(Object.fromEntries(attrs).src);
    return `<a href="${source}" target="_blank" rel="noopener noreferrer nofollow">${parser.utils.escapeHtml(content || "image")}</a>`;
  },
  th_open: alignedCell,
  td_open: alignedCell,
});

/** An attribute in place of the style, which the page's policy forbids. */
function alignedCell(tokens, index, options, env, renderer) {
  const cell = tokens[index];
  const align = /text-align:(left|center|right)/.exec(cell.attrGet("style") ?? "")?.[1];
  cell.attrs = align ? [["align", align]] : null;
  return renderer.renderToken(tokens, index, options);
}

/**
 * Returns the text's blocks: `{start, tokens}`, where `start` is the block's first line. A block that is nested too deeply is
 * the last one, and shown as it was written with all that follows, because the parser drops that.
 */
export function blocksOf(text) {
  const env = {};
  const blocks = [];
  let depth = 0;
  for (const token of parser.parse(text, env)) {
    if (depth === 0) blocks.push({ start: token.map[0], tokens: [], env });
    const block = blocks.at(-1);
    block.tokens.push(token);
    depth += token.nesting;
    if (depth >= DEEPEST) return [...blocks.slice(0, -1), { start: block.start, asWritten: linesFrom(text, block.start) }];
  }
  return blocks;
}

function linesFrom(text, line) {
  return text.split(LINE_END).slice(line).join("\n");
}

function markupOf({ tokens, env, asWritten }) {
  if (asWritten !== undefined) return `<p class="as-written">${parser.utils.escapeHtml(asWritten)}</p>`;
  return parser.renderer.render(tokens, parser.options, env);
}

/** Returns the elements of blocks, which nothing in their text can make dangerous. */
export function elementsOf(blocks) {
  const fragment = pure(blocks.map(markupOf).join(""));
  fragment.querySelectorAll("pre").forEach(frameCode);
  fragment.querySelectorAll("table").forEach(frameTable);
  return [...fragment.children];
}
