/** The chat at `/`: one stream in the address, its conversation on the page. */

import { outcomeTitle } from "./answer.js";
import * as api from "./api.js";
import { addAnswer, addButton, addMessage, showMessages, textOf } from "./conversation.js";
import { byId, element } from "./dom.js";
import { Presence } from "./presence.js";
import * as statusline from "./statusline.js";
import { Refused, Tail } from "./midstream.js";
import { cutFrom, metadataOf, nextTurn } from "./turns.js";

const prompt = byId("prompt");
const picker = byId("model");
let catalogue = [];
/** What the page shows: `{id, thread, messages, cut, answer, tail, presence}`, or null. */
let shown = null;
/** Raised by every navigation, so that an answer to an earlier one is not acted upon. */
let visit = 0;
let sending = false;

async function boot() {
  bind();
  if (await loadModels()) await route();
}

function bind() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  byId("stop").addEventListener("click", stop);
  byId("fresh").addEventListener("click", () => {
    history.pushState(null, "", location.pathname);
    route();
  });
  byId("examples").addEventListener("click", ({ target }) => {
    const example = target.closest("button");
    if (example) say(example.textContent);
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setKey(byId("key").value.trim());
    loadModels().then((known) => known && route());
  });
  picker.addEventListener("change", showCanned);
  window.addEventListener("popstate", route);
}

/** Fills the picker. Without a key that the broker knows, asks for one and returns false. */
async function loadModels() {
  complain(null);
  try {
    catalogue = await api.models();
  } catch (error) {
    byId("key-form").hidden = error.status !== 401;
    if (error.status === 401) byId("key").focus();
    if (error.status !== 401 || byId("key").value) complain(error);
    return false;
  }
  byId("key-form").hidden = true;
  picker.replaceChildren(...catalogue.map(option));
  picker.hidden = catalogue.length < 2;
  byId("only-model").hidden = catalogue.length !== 1;
  byId("only-model").textContent = catalogue[0]?.id ?? "";
  showCanned();
  return true;
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
  complain(null);
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
    complain(error);
  }
}

/** Joins a stream that is there already: replays it, then follows. */
function join({ id, status, model, thread, messages, metadata }) {
  const cut = cutFrom(metadata);
  showMessages(messages, cut);
  if (catalogue.some((known) => known.id === model)) picker.value = model;
  showCanned();
  follow({ id, status, thread, messages, cut });
}

/** Follows a stream below what is shown already. */
function follow({ id, status, thread, messages, cut }) {
  const answer = addAnswer(() => shown?.answer === answer && answer.outcome && settle());
  const presence = new Presence(id, (tabs) => statusline.show({ tabs }));
  const tail = new Tail(`${api.streamUrl(id)}/events`, {
    headers: api.authorization(),
    share: true,
    onConnection: (connection) => statusline.show({ connection }),
    onEntry: (entry) => {
      answer.take(entry);
      report(entry);
    },
  });
  shown = { id, thread, messages, cut, answer, tail, presence };
  document.title = `${textOf(messages.at(-1)?.content).slice(0, 60)} · midstream`;
  statusline.address(location.href);
  statusline.show({ state: status, offset: 0, epoch: 0 });
  busy(true);
  tail.follow().catch((error) => lose(error, answer));
}

function report({ type, offset, epoch, outcome }) {
  const facts = { offset };
  if (type === "start") Object.assign(facts, { epoch, state: "running" });
  if (type === "end") facts.state = `ended: ${outcome}`;
  statusline.show(facts);
}

function settle() {
  const { answer, messages, cut } = shown;
  busy(false);
  statusline.announce(`${outcomeTitle(answer.outcome)}.`);
  if (answer.outcome !== "completed") addButton("Try again", () => send({ messages, cut }));
}

/** The broker will not go on: say so, and do not pretend that this was the end. */
function lose(error, answer) {
  if (shown?.answer !== answer) return;
  answer.lost(error.message);
  statusline.show({ connection: "refused" });
  busy(false);
  if (!(error instanceof Refused)) throw error;
}

function leave() {
  depart();
  showMessages([]);
  statusline.hide();
  busy(false);
}

function depart() {
  shown?.tail.close();
  shown?.presence.leave();
  shown = null;
}

async function submit() {
  const content = prompt.value.trim();
  if (!content || sending || isBusy()) return;
  prompt.value = "";
  if (!(await say(content)) && !prompt.value) prompt.value = content;
}

function say(content) {
  if (shown) return send(nextTurn(shown, content));
  return send({ messages: [{ role: "user", content }], cut: new Map() });
}

/** Starts a stream and shows it; false if the broker did not take it. */
async function send({ messages, cut }) {
  complain(null);
  sending = byId("send").disabled = true;
  const mine = ++visit;
  const thread = shown?.thread ?? api.randomWord();
  try {
    const request = { model: picker.value || undefined, messages, thread, metadata: metadataOf(cut) };
    const { id, status } = await api.start(request);
    if (mine !== visit) return true;
    if (shown && messages.length > shown.messages.length) addMessage(messages.at(-1));
    else showMessages(messages, cut);
    depart();
    byId("welcome").hidden = true;
    history.pushState(null, "", `?stream=${encodeURIComponent(id)}`);
    follow({ id, status, thread, messages, cut });
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    sending = byId("send").disabled = false;
  }
}

/** Stops the generation itself, for every tab; the end that all of them read says so. */
async function stop() {
  const { id } = shown;
  byId("stop").disabled = true;
  try {
    await api.cancel(id);
  } catch (error) {
    complain(error);
    byId("stop").disabled = false;
  }
}

function busy(running) {
  byId("stop").hidden = !running;
  byId("stop").disabled = false;
  byId("send").hidden = running;
}

function isBusy() {
  return !byId("stop").hidden;
}

function complain(error) {
  const place = byId("problem");
  place.hidden = error === null;
  const unreachable = error instanceof TypeError;
  place.textContent = unreachable ? "The broker cannot be reached." : (error?.message ?? "");
}

await boot();
