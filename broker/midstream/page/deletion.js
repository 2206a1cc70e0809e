/** The question whether a conversation is to be deleted. */

import * as api from "./api.js";
import { complain, wordsFor } from "./complaint.js";
import { byId } from "./dom.js";
import { announce } from "./statusline.js";

const dialog = byId("deletion");
const yes = byId("deletion-yes");
const problem = byId("deletion-problem");
/** What the dialog asks, or null: `{thread, resolve, isSent}`. */
let question = null;

export function bind() {
  byId("deletion-no").addEventListener("click", () => dialog.close());
  yes.addEventListener("click", () => question.isSent || remove(question));
  // Beside the words; the second click of a double one on the button that asks lands there too.
  dialog.addEventListener("click", ({ target, detail }) => target === dialog && detail < 2 && dialog.close());
  dialog.addEventListener("close", () => dialog.open || settle()); // it comes late: the next question may be open
}

/** Asks the reader, and deletes the conversation if the answer is yes. Resolves with whether it is no more. */
export function ask(thread, title) {
  settle();
  byId("deletion-name").textContent = title;
  dialog.showModal();
  return new Promise((resolve) => {
    question = { thread, resolve, isSent: false };
    tell(question, "");
  });
}

/** Ends the question that was closed; where yes was pressed, its request decides. */
function settle() {
  if (question && !question.isSent) question.resolve(false);
  question = null;
}

async function remove(deletion) {
  deletion.isSent = true;
  tell(deletion, "");
  try {
    await api.removeThread(deletion.thread, (error) => tell(deletion, `${wordsFor(error)} Trying again.`));
  } catch (error) {
    if (error.status !== 404) return fail(deletion, error); // else somebody else has deleted it
  }
  deletion.resolve(true);
  if (question === deletion) dialog.close();
  announce("The conversation was deleted.");
}

/** Says what went wrong: in the dialog, where it can be tried again, unless that is closed. */
function fail(deletion, error) {
  deletion.isSent = false;
  const isOver = error.status === 401;
  if (question === deletion && !isOver) return tell(deletion, wordsFor(error));
  deletion.resolve(false);
  if (question === deletion || isOver) dialog.close(); // else it asks about another conversation by now
  complain(error);
}

function tell(deletion, words) {
  if (question !== deletion) return;
  problem.textContent = words;
  yes.ariaDisabled = String(deletion.isSent); // not `disabled`, which loses the focus
}
