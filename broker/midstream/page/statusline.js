/** The line with the state of the stream. */

import { byId } from "./dom.js";

const line = byId("status");

/** Shows some facts; the others stay as they are. */
export function show(facts) {
  line.hidden = false;
  for (const [name, value] of Object.entries(facts)) {
    const cell = byId(name);
    if (cell.textContent === String(value)) continue;
    cell.textContent = value;
    cell.parentElement.dataset.value = value;
  }
}

export function address(url) {
  byId("join").href = url;
}

export function hide() {
  line.hidden = true;
}

/** Announces news to screen readers, which do not read every number aloud. */
export function announce(news) {
  byId("news").textContent = news;
}
