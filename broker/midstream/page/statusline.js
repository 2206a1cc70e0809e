/** The line with the state of the stream. */

import { byId } from "./dom.js";

/** Pause, in ms, between two changes: nobody reads an offset for each entry, and each change is a layout of the page. */
const PAUSE_MS = 100;
const line = byId("status");
let waiting = {};
let timer = null;

/** Shows some facts, at once or a moment later; the others stay as they are. */
export function show(facts) {
  Object.assign(waiting, facts);
  timer ??= setTimeout(draw, 0);
}

function draw() {
  timer = Object.keys(waiting).length ? setTimeout(draw, PAUSE_MS) : null;
  if (!timer) return;
  const facts = waiting;
  waiting = {};
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
  waiting = {};
  line.hidden = true;
}

/** Announces news to screen readers, which do not read every number aloud. */
export function announce(news) {
  byId("news").textContent = news;
}
