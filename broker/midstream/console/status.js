/** How a stream's status is shown: a lamp, and a word. */

import { element } from "/page/dom.js";

/** The status, or of an ended stream its outcome. */
export function statusOf({ status, outcome }) {
  return outcome ?? status;
}

/** Makes a mark that `setStatus` fills. */
export function statusMark(facts) {
  const mark = element("span", { className: "mark" });
  if (facts) setStatus(mark, statusOf(facts));
  return mark;
}

export function setStatus(mark, status) {
  if (mark.textContent === status) return;
  mark.textContent = status;
  mark.dataset.status = status;
}

/** Sets an element's text, and touches the page only where it has changed. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
