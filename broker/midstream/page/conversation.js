/** The turns on the page: prompts, earlier answers, and the answer that is being written. */

import { Answer, outcomeTitle } from "./answer.js";
import { byId, element } from "./dom.js";
import { GrowingText } from "./growing_text.js";

/** A reader who is closer to the end than this, in px, is kept at the end. */
const NEAR_PX = 48;
const scroller = byId("scroller");
const turns = byId("conversation");

/** Shows a request's messages in place of what is on the page. `cut` has the prompts without a whole answer. */
export function showMessages(messages, cut = new Map()) {
  turns.replaceChildren();
  messages.forEach((message, index) => {
    // The note on a cut answer belongs below it, which is before the next prompt.
    if (message.role === "user") noteCut(cut, index - 1, messages);
    addMessage(message);
  });
}

export function addMessage({ role, content }) {
  const text = textOf(content);
  const label = { user: "You", assistant: "Answer" }[role] ?? role;
  const name = role === "assistant" ? "answer" : "prompt";
  const turn = element("article", { className: name, ariaLabel: label }, role === "assistant" ? asMarkdown(text) : bubble(text));
  turn.dataset.role = role;
  turns.append(turn);
  toEnd();
}

function bubble(text) {
  return element("div", { className: "bubble", dir: "auto" }, text);
}

function asMarkdown(text) {
  const growing = new GrowingText(element("div", { className: "text", dir: "auto" }));
  growing.append(text);
  growing.finish();
  return growing.element;
}

/** Adds an empty answer and returns it. `onFrame` is called after each frame that has shown something. */
export function addAnswer(onFrame) {
  const answer = new Answer((show) => {
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    show();
    if (atEnd) toEnd();
    onFrame();
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

/** Removes the buttons below earlier answers. */
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
  // An answer without text has no message, so the message before is the prompt itself.
  const prompt = messages[before]?.role === "assistant" ? before - 1 : before;
  const outcome = cut.get(prompt);
  if (!outcome) return;
  const text = `${outcomeTitle(outcome)}: this was not a whole answer.`;
  turns.append(element("p", { className: `outcome ${outcome}` }, text));
}
