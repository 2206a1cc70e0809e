/** One turn of a conversation: what was asked, the answer, and what can be done about them. */

import { Answer, outcomeTitle } from "./answer.js";
import { element } from "./dom.js";
import { iconButton } from "./icon_button.js";

export class Turn {
  /** Whether the thread's tail has come to this turn. One that this page has just started waits for its place. */
  isPlaced = false;
  isOver = false;
  answer;
  element;
  id;
  #prompts = element("div", { className: "prompts" });

  /** @param {(show: () => void) => void} around calls `show`, and keeps the page's scroll position */
  constructor(id, around) {
    this.id = id;
    this.answer = new Answer(around);
    const acts = element("div", { className: "acts" }, iconButton("copy", "Copy answer"), iconButton("again", "Regenerate"));
    this.element = element("section", { className: "turn" }, this.#prompts, this.answer.element, acts);
    this.element.dataset.stream = id;
  }

  /** Shows what was asked, unless that is on the page already. `messages` is null where it is too long to be sent. */
  ask(messages) {
    if (this.#prompts.childElementCount) return;
    this.#prompts.append(...(messages ?? [{ role: "user", content: "(a long message)" }]).map(prompt));
    const last = [...this.#prompts.querySelectorAll("[data-role=user]")].at(-1);
    last?.prepend(iconButton("edit", "Edit message"));
  }

  /** The words of the last prompt. */
  get words() {
    return [...this.#prompts.querySelectorAll("[data-role=user] .bubble")].at(-1)?.textContent ?? "";
  }

  /** Shows a turn of the past. */
  recall({ row: { outcome }, prompts, entries }) {
    this.ask(prompts);
    this.answer.recall(entries, outcome);
    if (outcome !== "completed") {
      const text = `${outcomeTitle(outcome)}: this was not a whole answer.`;
      this.answer.element.append(element("p", { className: `outcome ${outcome}` }, text));
    }
    this.end(outcome);
  }

  /** Notes that the answer will not go on. */
  end(outcome) {
    this.isPlaced = this.isOver = true;
    this.element.classList.add("over");
    if (outcome === "completed") return;
    const again = element("button", { type: "button", className: "quiet again" }, "Try again");
    again.dataset.act = "again";
    this.element.querySelector(".acts [data-act=again]").replaceWith(again);
  }
}

/** A message's text; content is a string or a list of parts. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? `[${part.type}]`).join("\n");
}

function prompt({ role, content }) {
  const bubble = element("div", { className: "bubble", dir: "auto" }, textOf(content));
  const turn = element("article", { className: "prompt", ariaLabel: role === "user" ? "You" : role }, bubble);
  turn.dataset.role = role;
  return turn;
}
