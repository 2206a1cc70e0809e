/** What a reader can do about a turn: copy, ask again, and ask with other words. */

import { complain } from "./complaint.js";
import * as composer from "./composer.js";
import * as conversation from "./conversation.js";
import { byId, element } from "./dom.js";
import { announce } from "./statusline.js";

/** How long, in ms, a button says that it has copied. */
const COPIED_MS = 1_500;

/** @param startInPlace starts a turn in the place of one, with other words or, without any, the same */
export function bindActs(startInPlace) {
  byId("conversation").addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    const turn = conversation.turnAround(button);
    if (button.matches(".copy-code")) copy(button.closest("figure").querySelector("code").textContent, button);
    else if (button.dataset.act === "copy") copy(turn.answer.text, button);
    else if (composer.state !== "idle") return;
    else if (button.dataset.act === "again") startInPlace(turn).catch(complain);
    else if (button.dataset.act === "edit") edit(turn, button, (words) => startInPlace(turn, words).catch(complain));
  });
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return complain(new Error("The browser lets this page copy nothing: open it by https, or as localhost."));
  }
  announce("Copied.");
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), COPIED_MS);
}

/** Shows a field with the prompt's words in the prompt's place. */
function edit(turn, button, onDone) {
  const prompt = button.parentElement;
  const field = element("textarea", { value: turn.words, dir: "auto", ariaLabel: "New words", rows: 3 });
  const cancel = element("button", { type: "button", className: "quiet" }, "Cancel");
  const hint = element("p", {}, "The answer to it, and all that came after it, will be deleted.");
  const form = element("form", { className: "edit-form" }, field, hint, cancel, element("button", { type: "submit" }, "Ask again"));
  const close = () => {
    form.replaceWith(prompt);
    button.focus();
  };
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target !== field) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = field.value.trim();
    if (!words) return;
    close();
    onDone(words);
  });
  prompt.replaceWith(form);
  field.focus();
}
