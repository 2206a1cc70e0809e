/** The chat at `/`: one stream in the address, its conversation on the page. */

import { outcomeTitle } from "./answer.js";
import * as api from "./api.js";
import * as composer from "./composer.js";
import { addAnswer, addButton, addMessage, removeButtons, showMessages, textOf } from "./conversation.js";
import { byId, element } from "./dom.js";
import { Presence } from "./presence.js";
import * as statusline from "./statusline.js";
import { Refused, Tail } from "/midstream.js";
import {
  begin,
  forget,
  forgetSoon,
  forgetTaken,
  kept,
  leave as leaveSubmission,
  randomWord,
  whileStaying,
} from "./submission.js";
import { cutFrom, metadataOf, nextTurn } from "./turns.js";

const { prompt } = composer;
const picker = byId("model");
/** Pause, in ms, before a broker that cannot be reached is asked for its models once more. */
const ASK_AGAIN_MS = 3_000;
let catalogue = [];
/** What the page shows: `{id, thread, messages, cut, keptS, answer, tail, presence}`, or null. `keptS` is null if it had ended before. */
let shown = null;
/** Raised by every navigation, so that an answer to an earlier one is not acted upon. */
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
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setKey(byId("key").value.trim());
    enter();
  });
  picker.addEventListener("change", showCanned);
  window.addEventListener("popstate", navigate);
}

/** Shows what the address names, once the broker lets this page in. */
async function enter() {
  if (!(await loadModels())) return;
  const sent = kept();
  if (sent?.left) deliver(sent);
  else if (sent && (await resend(sent))) return;
  await route();
}

/** Sends what was on its way when this tab was loaded again. */
function resend(sent) {
  if (sent.typed) prompt.value = textOf(sent.request.messages.at(-1).content);
  sending = sent;
  return deliver(sent);
}

function navigate() {
  complain(null);
  return route();
}

/** Fills the picker. Without a key that the broker knows, asks for one and returns false. */
async function loadModels() {
  try {
    catalogue = await insistOnModels();
  } catch (error) {
    const asksForKey = error.status === 401 && !api.hasKey();
    complain(asksForKey ? null : error);
    if (asksForKey) askForKey();
    return false;
  }
  complain(null);
  byId("key-form").hidden = true;
  picker.replaceChildren(...catalogue.map(option));
  picker.hidden = catalogue.length < 2;
  byId("only-model").hidden = catalogue.length !== 1;
  byId("only-model").textContent = catalogue[0]?.id ?? "";
  showCanned();
  return true;
}

/** Asks until the broker answers: whoever opens the page while it starts has nothing to reload for. */
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

function askForKey() {
  byId("key-form").hidden = false;
  byId("key").select();
  byId("key").focus();
}

function option({ id, description, default: chosen }) {
  return element("option", { value: id, title: description ?? "", selected: chosen }, id);
}

/** The demo source is no model: its text is the same for everybody, and the page says so. */
function showCanned() {
  const model = catalogue.find(({ id }) => id === picker.value);
  byId("canned").hidden = model?.provider !== "demo";
  byId("only-model").title = picker.title = model?.description ?? "";
}

/** Shows what the address names: a stream, or an empty page. */
async function route() {
  leave();
  document.title = "midstream";
  const mine = ++visit;
  const id = new URLSearchParams(location.search).get("stream");
  byId("welcome").hidden = Boolean(id);
  if (!id) return prompt.focus();
  try {
    const state = await api.state(id);
    if (mine === visit) join(state);
  } catch (error) {
    if (mine !== visit) return;
    byId("welcome").hidden = false;
    complain(error.status === 404 ? new Error(absent()) : error);
  }
}

/** Why there is nothing at this address; the broker itself no longer knows, and this tab's history may. */
function absent() {
  const until = history.state?.until_ms;
  if (until && until <= Date.now()) return `This stream has expired: it was kept until ${new Date(until).toLocaleString()}.`;
  return "There is no such stream. It has expired, for a stream is kept for a limited time behind its end, or it is another key's.";
}

/** Notes how long the stream of this address is kept, for whoever comes back to it later. */
function noteExpiry(endedMs, keptS) {
  history.replaceState({ until_ms: endedMs + keptS * 1_000 }, "");
}

/** Joins a stream that is there already: replays it, then follows. */
function join({ id, status, model, thread, messages, metadata, ended_ms: endedMs, ttl_s: keptS }) {
  if (endedMs) noteExpiry(endedMs, keptS);
  const cut = cutFrom(metadata);
  showMessages(messages, cut);
  if (catalogue.some((known) => known.id === model)) picker.value = model;
  showCanned();
  follow({ id, status, thread, messages, cut, keptS: endedMs ? null : keptS });
}

/** Follows a stream below what is shown already. */
function follow({ id, status, thread, messages, cut, keptS }) {
  const answer = addAnswer(() => shown?.answer === answer && answer.outcome && settle());
  const presence = new Presence(id, (tabs) => statusline.show({ tabs }));
  const tail = new Tail(`${api.streamUrl(id)}/events`, {
    headers: api.authorization(),
    onConnection: (connection) => statusline.show({ connection }),
    onEntry: (entry) => {
      answer.take(entry);
      report(entry);
    },
  });
  shown = { id, thread, messages, cut, keptS, answer, tail, presence };
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
  const { answer, messages, cut, keptS } = shown;
  composer.show("idle");
  if (keptS !== null) noteExpiry(Date.now(), keptS);
  statusline.announce(`${outcomeTitle(answer.outcome)}.`);
  if (answer.outcome !== "completed") addButton("Try again", () => send({ messages, cut }, false));
}

/** The broker will not go on: say so, and do not pretend that this was the end. */
function lose(error, answer) {
  if (shown?.answer !== answer) return;
  answer.lost(error.status === 404 ? absent() : wordsFor(error));
  statusline.show({ connection: "refused" });
  composer.show("idle");
  if (!(error instanceof Refused)) throw error;
}

function leave() {
  if (sending) leaveSubmission(sending);
  if (sending?.typed) prompt.value = "";
  sending = null;
  forgetTaken();
  depart();
  showMessages([]);
  statusline.hide();
  composer.show("idle");
}

function depart() {
  shown?.tail.close();
  shown?.presence.leave();
  shown = null;
}

function submit() {
  const content = prompt.value.trim();
  if (!content) return;
  if (shown) send(nextTurn(shown, content), true);
  else send({ messages: [{ role: "user", content }], cut: new Map() }, true);
}

/** Starts a stream and shows it. One at a time: what is clicked meanwhile sends nothing. */
function send({ messages, cut }, typed) {
  if (composer.state !== "idle") return;
  complain(null);
  const thread = shown?.thread ?? randomWord();
  sending = begin({ model: picker.value || undefined, messages, thread, metadata: metadataOf(cut) }, typed);
  deliver(sending);
}

/** Sends until the broker takes it; an answer that nobody waits for any more is stopped. False: it was not taken. */
async function deliver(sent) {
  if (!sent.left) composer.show("sending");
  try {
    const stream = await api.start(sent, (error) => sent.left || complain(error, "Trying again."));
    await whileStaying();
    if (sent.left) await api.cancel(stream.id);
    else showTaken(sent, stream);
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

function showTaken({ request: { thread, messages, metadata }, typed }, { id, status, ttl_s: keptS }) {
  const cut = cutFrom(metadata);
  complain(null);
  if (typed) prompt.value = "";
  if (shown && messages.length > shown.messages.length) addMessage(messages.at(-1));
  else showMessages(messages, cut);
  depart();
  byId("welcome").hidden = true;
  const address = `?stream=${encodeURIComponent(id)}`;
  if (location.search !== address) history.pushState(null, "", address);
  follow({ id, status, thread, messages, cut, keptS });
}

/** Stops the generation itself, for every tab; the end that all of them read says so. */
async function stop() {
  try {
    await api.cancel(shown.id);
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
  if (error?.status !== 401) return;
  api.dropKey();
  askForKey();
}

/** What an error means for who reads this page, who may never have seen an API. */
function wordsFor(error) {
  if (error instanceof TypeError) return "The broker cannot be reached.";
  if (error.status === 401) return api.hasKey() ? "This broker does not know that key." : "This broker asks for an API key.";
  return error.message;
}

bind();
await enter();
