/** The operators' console at `/console`: the address names what it shows. */

import * as audit from "./audit.js";
import * as overview from "./overview.js";
import * as processes from "./processes.js";
import * as streamPage from "./stream_page.js";
import * as streamsPage from "./streams_page.js";
import { placeOf } from "./address.js";
import { probe } from "./operate.js";
import * as api from "/page/api.js";
import { byId } from "/page/dom.js";
import * as session from "/page/session.js";

const main = byId("main");
const nav = byId("nav");
const PAGES = { overview, streams: streamsPage, stream: streamPage, processes, audit };
/** The page on view: `{place, update, leaving}`, or null. */
let present = null;

/** Shows what the address names, once the broker lets this browser in. */
async function enter() {
  complain(null);
  try {
    await insist();
  } catch (error) {
    return refuse(error);
  }
  complain(null);
  session.showEntered();
  nav.hidden = main.hidden = false;
  show();
}

/** Asks until the broker answers. @throws {Refused} This browser's session is not an operator's. */
async function insist() {
  for (;;) {
    try {
      return await probe((error) => complain(error, "Trying again."));
    } catch (error) {
      if (!api.isPassing(error)) throw error;
    }
  }
}

/** Tells why the broker does not let this browser in, and asks for another key. */
async function refuse(error) {
  leave();
  nav.hidden = main.hidden = true;
  if (error.status !== 401 && error.status !== 403) return complain(error);
  const isSignedIn = api.isSignedIn();
  if (isSignedIn) await api.signOut().catch(() => {});
  session.askForKey();
  if (error.status === 403) complain(new Error("This key is not an operator's: it lacks the scope `operate`."));
  else if (isSignedIn) complain(new Error("The session is over. Sign in again."));
}

function leave() {
  present?.leaving.abort();
  present = null;
  main.replaceChildren();
}

function show() {
  const place = placeOf(location);
  complain(null);
  for (const link of nav.children) {
    if (link.pathname === place.section) link.ariaCurrent = "page";
    else link.removeAttribute("aria-current");
  }
  if (present?.update && present.place.key === place.key) {
    present.place = place;
    return present.update(place);
  }
  leave();
  const leaving = new AbortController();
  present = { place, leaving };
  document.title = `${place.title} · midstream console`;
  main.scrollTop = 0;
  present.update = PAGES[place.page].show({ main, place, go, complain: tell(leaving), signal: leaving.signal });
}

/**
 * Goes to another address of the console.
 * @param {{replace?: boolean}} how `replace`: the browser's "back" passes over the present address
 */
function go(url, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  show();
}

/** Returns what a page tells of its errors by; a session that is over ends the page, and what was aborted is none. */
function tell(leaving) {
  return (error, also) => {
    if (leaving.signal.aborted || error?.name === "AbortError") return;
    if (error?.status === 401 || error?.problem?.code === "insufficient_scope") refuse(error);
    else complain(error, also);
  };
}

/** Shows an error in words, or with null takes it away. */
function complain(error, also = "") {
  const text = error === null ? "" : `${wordsOf(error)} ${also}`.trim();
  const problem = byId("problem");
  if (problem.textContent !== text) problem.textContent = text;
  problem.hidden = text === "";
}

function wordsOf(error) {
  if (error instanceof TypeError) return "The broker cannot be reached.";
  const errors = error.problem?.errors ?? [];
  return [error.message, ...errors.map(({ at, message }) => `${at}: ${message}`)].join(" ");
}

/** Follows links within the console without loading it anew. */
function followed(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const isOfConsole = link.pathname === "/console" || link.pathname.startsWith("/console/");
  if (link.target || link.download || link.origin !== location.origin || !isOfConsole || link.hash) return;
  event.preventDefault();
  go(link.href);
}

session.bind(enter, complain);
document.addEventListener("click", followed);
window.addEventListener("popstate", () => present && show());
enter();
