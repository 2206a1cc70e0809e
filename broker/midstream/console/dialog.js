/** Questions to the operator before an act. */

import { element } from "/page/dom.js";

/**
 * Asks whether to do something.
 * @param {{title: string, text: string, button: string, fields?: object[], isHarmless?: boolean}} question `fields` are
 *   `{name, label, type, value, …}` with properties of `<input>`; one with `options`, pairs of value and text, is a choice
 * @returns the fields' values by their names, or null where the operator leaves it at that
 */
export function confirmed({ title, text, button, fields = [], isHarmless = false }) {
  return new Promise((resolve) => {
    const inputs = fields.map(inputOf);
    const yes = element("button", { type: "submit", className: isHarmless ? "" : "danger" }, button);
    const no = element("button", { type: "button", className: "quiet" }, "Leave it");
    const form = element(
      "form",
      {},
      element("h2", { id: "question" }, title),
      element("p", {}, text),
      ...inputs.map(({ row }) => row),
      element("div", { className: "buttons" }, no, yes),
    );
    const dialog = element("dialog", {}, form);
    dialog.setAttribute("aria-labelledby", "question");
    let answer = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = Object.fromEntries(inputs.map(({ name, value }) => [name, value()]));
      dialog.close();
    });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (inputs[0]?.input ?? no).focus();
  });
}

function inputOf({ name, label, options, ...properties }) {
  const choices = options?.map(([value, text]) => element("option", { value }, text));
  const input = element(options ? "select" : "input", { name, ...properties }, ...(choices ?? []));
  const isTick = properties.type === "checkbox";
  const row = element("label", { className: isTick ? "tick" : "field" }, ...(isTick ? [input, label] : [label, input]));
  return { name, input, row, value: () => (isTick ? input.checked : input.value.trim()) };
}

/** Tells what has happened, to all who see and hear it. */
export function announce(text) {
  document.getElementById("news").textContent = text;
  const note = element("p", { className: "toast" }, text);
  note.ariaHidden = "true"; // the status line above has told it
  document.querySelectorAll(".toast").forEach((each) => each.remove());
  document.body.append(note);
  setTimeout(() => note.remove(), 4_000);
}
