/** A stream as its clients are sent it, in each dialect: not asked for before the operator opens it. */

import { readStream } from "./operate.js";
import { setText } from "./status.js";
import { number } from "./words.js";
import { element } from "/page/dom.js";

const DIALECTS = [
  ["native", "Native events"],
  ["responses", "OpenAI Responses"],
  ["chat", "OpenAI chat completions"],
  ["messages", "Anthropic messages"],
  ["ui", "AI SDK"],
];
/** The most letters of the frames on the page. */
const MOST_LETTERS = 100_000;

/**
 * Makes the pane.
 * @param {{signal: AbortSignal, complain: Function}} how
 */
export function clientsPane(stream, how) {
  const choice = element("select", { ariaLabel: "Dialect" }, ...DIALECTS.map(([value, text]) => element("option", { value }, text)));
  const note = element("span", { className: "dim" });
  const content = element("pre", { className: "content", tabIndex: 0 });
  const pane = element(
    "details",
    { className: "panel" },
    element("summary", {}, "As a client sees it"),
    element("div", { className: "line" }, choice, note),
    content,
  );
  const look = async () => {
    content.textContent = "";
    if (!pane.open) return;
    const dialect = choice.value;
    const { frames, upto, tail } = await readStream(stream, `/frames?dialect=${dialect}`, { signal: how.signal });
    if (dialect !== choice.value || !pane.open) return;
    content.textContent = frames.slice(0, MOST_LETTERS);
    const cut = frames.length > MOST_LETTERS ? `, the first ${number(MOST_LETTERS)} letters of it` : "";
    setText(note, `entries 1 to ${number(upto)} of ${number(tail)}${cut}`);
  };
  pane.addEventListener("toggle", () => look().catch(how.complain));
  choice.addEventListener("change", () => look().catch(how.complain));
  return pane;
}
