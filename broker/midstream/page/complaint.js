/** The line that says what went wrong, in words for a reader who may never have seen an API. */

import { byId } from "./dom.js";
import * as session from "./session.js";

const place = byId("problem");
const again = byId("problem-again");
let retry = null;
again.addEventListener("click", () => retry());
window.addEventListener("online", () => retry?.());

/** Shows an error, or nothing where it is null; with `onRetry` there is a button that calls it. */
export function complain(error, more = "", onRetry = null) {
  retry = onRetry;
  byId("problem-box").hidden = error === null;
  place.textContent = error === null ? "" : `${wordsFor(error)} ${more}`.trim();
  again.hidden = !onRetry;
  if (error?.status === 401) session.askForKey();
}

export function wordsFor(error) {
  if (error instanceof TypeError) return "The broker cannot be reached.";
  if (error.status === 401) return "This page's session is over.";
  if (error.problem?.code === "insufficient_scope") return `You are not allowed to do this here. ${error.message}`;
  return error.message;
}
