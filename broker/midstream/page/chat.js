/** The chat at `/`: the address names a stream, and the page shows its conversation. */

import { outcomeTitle } from "./answer.js";
import * as api from "./api.js";
import * as composer from "./composer.js";
import { addAnswer, addButton, addMessage, removeButtons, showMessages, textOf } from "./conversation.js";
import { byId, element } from "./dom.js";
import { Presence } from "./presence.js";
import * as session from "./session.js";
import * as statusline from "./statusline.js";
import { Refused, Tail } from "/midstream.js";
import {
  begin,
  forget,
  forgetSoon,
  forgetAccepted,
  leave as leaveSubmission,
  randomWord,
  stored,
  whileStaying,
} from "./submission.js";
import { cutFrom, metadataOf, nextTurn } from "./turns.js";

const { prompt } = composer;
const picker = byId("model");
/** Pause, in ms, before the page asks a broker that could not be reached for its models again. */
const ASK_AGAIN_MS = 3_000;
let catalogue = [];
/**
 * The stream on the page: `{id, thread, messages, cut, ttlS, answer, tail, presence}`, or null. `ttlS` is null if the
 * stream had ended before.
 */
let current = null;
/** The number of navigations, so that an answer to an earlier one can be ignored. */
let visit = 0;
/** The submission on its way whose answer this page will show, or null. */
let sending = null;

function bind() {
  composer.bind(submit, stop);
  byId("fresh").addEventListener("click", () => {
    history.pushState(null, "", location.pathname);
    navigate();
  });
  byId("examples").addEventListener("click", ({ target }) => {
    const example = target.closest("button");
    if (!example || composer.state !== "idle") return;
    prompt.value = example.textContent;
    submit();
  });
  session.bind(enter, complain);
  picker.addEventListener("change", showCanned);
  window.addEventListener("popstate", navigate);
}

/** Shows the stream that the address names, once the broker lets this page in. */
async function enter() {
  if (!(await loadModels())) return;
  const sent = stored();
  if (sent?.left) deliver(sent);
  else if (sent && (await resend(sent))) return;
  await route();
}

/** Sends the request again that was on its way when this tab was reloaded. */
function resend(sent) {
  if (sent.typed) prompt.value = textOf(sent.request.messages.at(-1).content);
  sending = sent;
  return deliver(sent);
}

function navigate() {
  complain(null);
  return route();
}

/** Fills the picker. Where the broker does not let this page in, asks for a key and returns false. */
async function loadModels() {
  try {
    catalogue = await insistOnModels();
  } catch (error) {
    complain(error.status === 401 ? null : error);
    if (error.status === 401) session.askForKey();
    return false;
  }
  complain(null);
  session.showEntered();
  picker.replaceChildren(...catalogue.map(option));
  picker.hidden = catalogue.length < 2;
  byId("only-model").hidden = catalogue.length !== 1;
  byId("only-model").textContent = catalogue[0]?.id ?? "";
  showCanned();
  return true;
}

/** Asks until the broker answers, so that a page that is opened while it starts need not be reloaded. */
async function insistOnModels() {
  for (;;) {
    try {
      return await api.models((error) => complain(error, "Trying again."));
    } catch (error) {
      if (!api.isPassing(error)) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, ASK_AGAIN_MS);
        window.addEventListener("online", resolve, { once: true });
      });
    }
  }
}

function option({ id, description, default: chosen }) {
  return element("option", { value: id, title: description ?? "", selected: chosen }, id);
}

/** The demo source is no model: its text is always the same, and the page says so. */
function showCanned() {
  const model = catalogue.find(({ id }) => id === picker.value);
  byId("canned").hidden = model?.provider !== "demo";
  byId("only-model").title = picker.title = model?.description ?? "";
}

/** Shows the stream that the address names, or an empty page. */
async function route() {
  leave();
  document.title = "midstream";
  const thisVisit = ++visit;
  const id = new URLSearchParams(location.search).get("stream");
  byId("welcome").hidden = Boolean(id);
  if (!id) return prompt.focus();
  try {
    const state = await api.state(id);
    if (thisVisit === visit) join(state);
  } catch (error) {
    if (thisVisit !== visit) return;
    byId("welcome").hidden = false;
    complain(error.status === 404 ? new Error(absent()) : error);
  }
}

/** Why there is nothing at this address. The broker no longer knows, but this tab's history may. */
function absent() {
  const until = history.state?.until_ms;
  if (until && until <= Date.now()) return `This stream has expired: it was kept until ${new Date(until).toLocaleString()}.`;
  return "There is no such stream. It may have expired, because streams are kept for a limited time after their end, or it belongs to another key.";
}

/** Notes in the tab's history until when the stream of this address is kept. */
function noteExpiry(endedMs, ttlS) {
  history.replaceState({ until_ms: endedMs + ttlS * 1_000 }, "");
}

/** Joins an existing stream: replays it, then follows it. */
function join({ id, status, model, thread, messages, metadata, ended_ms: endedMs, ttl_s: ttlS }) {
  if (endedMs) noteExpiry(endedMs, ttlS);
  const cut = cutFrom(metadata);
  showMessages(messages, cut);
  if (catalogue.some(({ id: listed }) => listed === model)) picker.value = model;
  showCanned();
  follow({ id, status, thread, messages, cut, ttlS: endedMs ? null : ttlS });
}

/** Follows a stream below the messages on the page. */
function follow({ id, status, thread, messages, cut, ttlS }) {
  const answer = addAnswer(() => current?.answer === answer && answer.outcome && settle());
  const presence = new Presence(id, (tabs) => statusline.show({ tabs }));
  const tail = new Tail(`${api.streamUrl(id)}/events`, {
    onConnection: (connection) => statusline.show({ connection }),
    onEntry: (entry) => {
      answer.take(entry);
      report(entry);
    },
  });
  current = { id, thread, messages, cut, ttlS, answer, tail, presence };
  document.title = `${textOf(messages.at(-1)?.content).slice(0, 60)} · midstream`;
  statusline.address(location.href);
  statusline.show({ state: status, offset: 0, epoch: 0 });
  removeButtons();
  composer.show("running");
  tail.follow().catch((error) => lose(error, answer));
}

function report({ type, offset, epoch, outcome }) {
  const facts = { offset };
  if (type === "start") Object.assign(facts, { epoch, state: "running" });
  if (type === "end") facts.state = `ended: ${outcome}`;
  statusline.show(facts);
}

function settle() {
  const { answer, messages, cut, ttlS } = current;
  composer.show("idle");
  if (ttlS !== null) noteExpiry(Date.now(), ttlS);
  statusline.announce(`${outcomeTitle(answer.outcome)}.`);
  if (answer.outcome !== "completed") addButton("Try again", () => send({ messages, cut }, false));
}

/** Shows that the broker will not go on, so that the text so far does not look like a whole answer. */
function lose(error, answer) {
  if (current?.answer !== answer) return;
  answer.lost(error.status === 404 ? absent() : wordsFor(error));
  statusline.show({ connection: "refused" });
  composer.show("idle");
  if (!(error instanceof Refused)) throw error;
}

function leave() {
  if (sending) leaveSubmission(sending);
  if (sending?.typed) prompt.value = "";
  sending = null;
  forgetAccepted();
  depart();
  showMessages([]);
  statusline.hide();
  composer.show("idle");
}

function depart() {
  current?.tail.close();
  current?.presence.leave();
  current = null;
}

function submit() {
  const content = prompt.value.trim();
  if (!content) return;
  if (current) send(nextTurn(current, content), true);
  else send({ messages: [{ role: "user", content }], cut: new Map() }, true);
}

/** Starts a stream and shows it. Meanwhile further clicks send nothing. */
function send({ messages, cut }, typed) {
  if (composer.state !== "idle") return;
  complain(null);
  const thread = current?.thread ?? randomWord();
  sending = begin({ model: picker.value || undefined, messages, thread, metadata: metadataOf(cut) }, typed);
  deliver(sending);
}

/**
 * Sends a request until the broker accepts it. If the page was left meanwhile, stops the stream. Returns whether the
 * request was accepted.
 */
async function deliver(sent) {
  if (!sent.left) composer.show("sending");
  try {
    const stream = await api.start(sent, (error) => sent.left || complain(error, "Trying again."));
    await whileStaying();
    if (sent.left) await api.cancel(stream.id);
    else showAccepted(sent, stream);
    if (sent.left) forget(sent);
    else forgetSoon(sent);
    return true;
  } catch (error) {
    complain(error);
    forget(sent);
    if (!sent.left) composer.show("idle");
    return false;
  } finally {
    if (sending === sent) sending = null;
  }
}

function showAccepted({ request: { thread, messages, metadata }, typed }, { id, status, ttl_s: ttlS }) {
  const cut = cutFrom(metadata);
  complain(null);
  if (typed) prompt.value = "";
  if (current && messages.length > current.messages.length) addMessage(messages.at(-1));
  else showMessages(messages, cut);
  depart();
  byId("welcome").hidden = true;
  const address = `?stream=${encodeURIComponent(id)}`;
  if (location.search !== address) history.pushState(null, "", address);
  follow({ id, status, thread, messages, cut, ttlS });
}

/** Stops the generation itself. Every tab reads its end. */
async function stop() {
  try {
    await api.cancel(current.id);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

function complain(error, more = "") {
  const place = byId("problem");
  place.hidden = error === null;
  place.textContent = error === null ? "" : `${wordsFor(error)} ${more}`.trim();
  if (error?.status === 401) session.askForKey();
}

/** An error in words for a reader who may never have seen an API. */
function wordsFor(error) {
  if (error instanceof TypeError) return "The broker cannot be reached.";
  if (error.status === 401) return "This page's session is over.";
  return error.message;
}

bind();
await enter();
