/** The turns on the page: prompts, earlier answers, and the one being written. */

import { Answer, outcomeTitle } from "./answer.js";
import { byId, element } from "./dom.js";

/** Closer to the end than this, in px, counts as reading along. */
const NEAR_PX = 48;
const scroller = byId("scroller");
const turns = byId("conversation");

/** Replaces what is shown by a request's messages. `cut` tells which prompts got no whole answer. */
export function showMessages(messages, cut = new Map()) {
  turns.replaceChildren();
  messages.forEach((message, index) => {
    // The note on a cut answer stands below it, so before the next prompt.
    if (message.role === "user") noteCut(cut, index - 1, messages);
    addMessage(message);
  });
}

export function addMessage({ role, content }) {
  const text = textOf(content);
  const label = { user: "You", assistant: "Answer" }[role] ?? role;
  const name = role === "assistant" ? "answer" : "prompt";
  const inner = element("div", { className: role === "assistant" ? "text" : "bubble", dir: "auto" }, text);
  const turn = element("article", { className: name, ariaLabel: label }, inner);
  turn.dataset.role = role;
  turns.append(turn);
  toEnd();
}

/** Adds an empty answer and returns it. `onShown` is called after each frame that showed something. */
export function addAnswer(onShown) {
  const answer = new Answer((show) => {
    const along = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    show();
    if (along) toEnd();
    onShown();
  });
  turns.append(answer.element);
  toEnd();
  return answer;
}

export function addButton(label, onClick) {
  const button = element("button", { type: "button", className: "quiet again" }, label);
  button.addEventListener("click", onClick);
  turns.lastElementChild.append(button);
  toEnd();
}

/** Takes the buttons away that belong to answers before the one that comes now. */
export function removeButtons() {
  turns.querySelectorAll(".again").forEach((button) => button.remove());
}

export function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

/** A message's text; content is a string or a list of parts. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? `[${part.type}]`).join("\n");
}

function noteCut(cut, before, messages) {
  // Without any text an answer left no message behind: then the prompt itself is the one before.
  const prompt = messages[before]?.role === "assistant" ? before - 1 : before;
  const outcome = cut.get(prompt);
  if (!outcome) return;
  const text = `${outcomeTitle(outcome)}: this was not a whole answer.`;
  turns.append(element("p", { className: `outcome ${outcome}` }, text));
}
