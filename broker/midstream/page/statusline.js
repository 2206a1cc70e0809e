/** The line that says where the stream is. */

import { byId } from "./dom.js";

const line = byId("status");

/** Shows the facts given; the others stay as they are. */
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

/** Tells screen readers, who are not read every number. */
export function announce(news) {
  byId("news").textContent = news;
}
