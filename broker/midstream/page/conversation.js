/** The turns on the page, in order, and the place in them that their reader looks at. */

import { byId } from "./dom.js";
import { Turn } from "./turn.js";

/** A reader who is closer to the end than this, in px, is kept at the end. */
const NEAR_PX = 48;
const scroller = byId("scroller");
const place = byId("conversation");
const turns = new Map();
/** Whether the reader is at the end. Events say so, because a question makes the browser compute the layout. */
let isAtEnd = true;
let lastTop = 0;
scroller.addEventListener("scroll", () => {
  const top = scroller.scrollTop;
  const isNear = scroller.scrollHeight - top - scroller.clientHeight < NEAR_PX;
  isAtEnd = isNear || (isAtEnd && top >= lastTop); // the event comes late: the page may have grown since
  lastTop = top;
});
new ResizeObserver(keepPlace).observe(scroller); // a phone's keyboard comes and goes

/** Adds an empty turn and returns it. `onFrame` is called after each frame that has shown something of its answer. */
export function add(id, onFrame) {
  const turn = new Turn(id, (show) => {
    show();
    keepPlace();
    onFrame?.(turn);
  });
  turns.set(id, turn);
  // What this page has just started comes after what was started before it, which its tail may not have reached yet.
  const waiting = [...turns.values()].find((each) => !each.isPlaced && each !== turn);
  place.insertBefore(turn.element, waiting?.element ?? null);
  return turn;
}

/** Shows turns of the past before those on the page, and keeps the reader's place. */
export function addPast(pasts) {
  const [fromEnd, newer] = [scroller.scrollHeight - scroller.scrollTop, [...turns]];
  const made = pasts.map((past) => {
    const turn = new Turn(past.row.id, (show) => show());
    turn.recall(past);
    return turn;
  });
  place.prepend(...made.map(({ element }) => element));
  turns.clear();
  for (const turn of made) turns.set(turn.id, turn);
  for (const [id, turn] of newer) turns.set(id, turn);
  scroller.scrollTop = scroller.scrollHeight - fromEnd;
}

export function get(id) {
  return turns.get(id);
}

/** The turn that is shown last, or undefined. */
export function last() {
  return turns.get(place.lastElementChild?.dataset.stream);
}

/** The turn in which an element of the page is. */
export function turnAround(inner) {
  return turns.get(inner.closest(".turn")?.dataset.stream);
}

/** The ids of a turn and of all that are shown after it. */
export function idsFrom(id) {
  const ids = [...place.children].map(({ dataset }) => dataset.stream);
  return ids.includes(id) ? ids.slice(ids.indexOf(id)) : [];
}

export function remove(id) {
  turns.get(id)?.element.remove();
  turns.delete(id);
}

export function clear() {
  turns.clear();
  place.replaceChildren();
  isAtEnd = true;
  lastTop = 0;
}

/** Keeps a reader at the end who is there. */
export function keepPlace() {
  if (isAtEnd) toEnd();
}

export function toEnd() {
  isAtEnd = true;
  scroller.scrollTop = 1e9; // to ask for the height would compute the layout once more
}
