/** The list of the caller's conversations. */

import * as api from "./api.js";
import * as deletion from "./deletion.js";
import { byId, element } from "./dom.js";
import { iconButton } from "./icon_button.js";

/** Interval, in ms, at which a page that is looked at asks for conversations that began elsewhere. */
const EVERY_MS = 15_000;
const box = byId("threads");
const list = byId("thread-list");
const more = byId("more-threads");
let current = null;
let pages = 1;
let asking = null;
let isStale = false;
let isOn = false;
let onGone;

/**
 * @param go shows what an address names
 * @param gone is called when the conversation on the page is no more, with whether this page has deleted it
 */
export function bind(go, gone) {
  onGone = gone;
  deletion.bind();
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) return askToDelete(button.dataset);
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser opens a tab
    event.preventDefault();
    go(link.getAttribute("href"));
  });
  more.addEventListener("click", () => {
    pages += 1;
    refresh();
  });
  setInterval(() => isOn && !document.hidden && refresh(), EVERY_MS);
  document.addEventListener("visibilitychange", () => isOn && !document.hidden && refresh());
}

/** Asks for the list again. Calls that come while it is on its way become one more. */
export async function refresh() {
  isStale = true;
  if (asking) return;
  while (isStale) {
    isStale = false;
    asking = read();
    await asking.then(show, hide);
  }
  asking = null;
}

/** Marks the conversation that is on the page. */
export function mark(thread) {
  current = thread;
  for (const link of list.querySelectorAll("a")) link.ariaCurrent = link.dataset.thread === current ? "page" : null;
}

async function read() {
  const rows = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const { data, next_cursor: next } = await api.threads(cursor);
    rows.push(...data);
    cursor = next;
    if (!next) break;
  }
  return { rows, hasMore: cursor !== null };
}

/** The conversations that the reader may be deleting: a list that lacks one tells nothing before the answer does. */
const inQuestion = new Set();

function show({ rows, hasMore }) {
  isOn = true;
  box.hidden = false;
  byId("menu").hidden = false;
  more.hidden = !hasMore;
  byId("no-threads").hidden = rows.length > 0;
  const wasListed = find("a", current) !== null;
  const { localName, dataset } = document.activeElement;
  const place = [...list.children].findIndex((row) => row.contains(document.activeElement));
  list.replaceChildren(...rows.map(item));
  mark(current);
  if (place >= 0) (find(localName, dataset.thread) ?? list.children[place]?.firstElementChild ?? byId("fresh")).focus();
  if (wasListed && !hasMore) leaveIfGone(current);
}

/** A list may lack a conversation that moved to its top between two of its pages: the broker has the last word. */
async function leaveIfGone(thread) {
  if (find("a", thread) || inQuestion.has(thread)) return;
  const isGone = await api.thread(thread).then(() => false, ({ status }) => status === 404);
  if (isGone && thread === current && !inQuestion.has(thread)) onGone(false);
}

function find(name, thread) {
  return list.querySelector(`${name}[data-thread="${CSS.escape(thread)}"]`);
}

async function askToDelete({ thread, words }) {
  inQuestion.add(thread);
  const isDeleted = await deletion.ask(thread, words);
  inQuestion.delete(thread);
  if (isDeleted && thread === current) onGone(true);
  if (isDeleted) refresh();
  // The browser gives the focus back to the button, unless the list was made anew meanwhile.
  else if (document.activeElement === document.body) find("button", thread)?.focus();
  if (!isDeleted && thread === current) leaveIfGone(thread); // somebody else may have deleted it meanwhile
}

/** A credential of one thread sees no list, and a broker that is away has none. */
function hide(error) {
  if (error.status !== 403 && error.status !== 401) return;
  isOn = false;
  box.hidden = true;
  byId("menu").hidden = true;
}

function item({ id, title, status, outcome, active_ms: activeMs }) {
  const link = element("a", { href: `?thread=${encodeURIComponent(id)}` });
  link.dataset.thread = id;
  link.append(element("span", { className: "title", dir: "auto" }, title || id));
  const state = status === "ended" ? outcome : status;
  const words = { completed: "", queued: "waiting", running: "writing", cancelled: "stopped" }[state] ?? state;
  const facts = element("span", { className: "facts" }, [words, since(activeMs)].filter(Boolean).join(" · "));
  facts.dataset.state = state;
  link.append(facts);
  const remove = iconButton("delete", `Delete “${title || id}”`);
  Object.assign(remove.dataset, { thread: id, words: title || id });
  return element("li", {}, link, remove);
}

/** A time as one says it: today's by the clock, others by their date. */
function since(timeMs) {
  const time = new Date(timeMs);
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString([], { timeStyle: "short" }) : time.toLocaleDateString([], { dateStyle: "medium" });
}
