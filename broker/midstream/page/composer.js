/** The box at the foot of the page: the prompt, Send, and Stop. */

import { byId } from "./dom.js";

export const prompt = byId("prompt");
const sendButton = byId("send");
const stopButton = byId("stop");

/** `idle`, `sending` (a prompt is on its way to the broker), or `running` (an answer is being written). */
export let state = "idle";

export function show(next) {
  state = next;
  document.body.dataset.state = state;
  // The focus moves to the prompt, because a button that vanishes would take it away from the keyboard's user.
  if (state !== "running" && document.activeElement === stopButton) prompt.focus();
  stopButton.hidden = state !== "running";
  stopButton.ariaDisabled = "false";
  sendButton.hidden = state === "running";
  sendButton.disabled = prompt.readOnly = state === "sending";
}

/** Calls `onSubmit` for Enter and Send, and `onStop` for Stop. Stop can be pressed again only if `onStop` resolves to false. */
export function bind(onSubmit, onStop) {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    onSubmit();
  });
  stopButton.addEventListener("click", async () => {
    if (stopButton.ariaDisabled === "true") return;
    stopButton.ariaDisabled = "true"; // not `disabled`, which loses the focus
    if (!(await onStop())) stopButton.ariaDisabled = "false";
  });
}
