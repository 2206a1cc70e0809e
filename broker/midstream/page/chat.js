/** The chat at `/`: the address names a thread, and the page shows its conversation. */

import { bindActs } from "./acts_on_turns.js";
import { outcomeTitle } from "./answer.js";
import * as api from "./api.js";
import { complain, wordsFor } from "./complaint.js";
import * as composer from "./composer.js";
import * as conversation from "./conversation.js";
import { byId } from "./dom.js";
import * as drawer from "./drawer.js";
import * as models from "./models.js";
import { OpenThread } from "./open_thread.js";
import * as sending from "./sending.js";
import * as session from "./session.js";
import * as statusline from "./statusline.js";
import { randomWord } from "./submission.js";
import * as threadList from "./thread_list.js";
import { Refused } from "/midstream.js";

const { prompt } = composer;
/** The thread on the page, or null. */
let open = null;
/** The name of the thread that the next message begins, if none is on the page. */
let nextThread = randomWord();
/** Resolves once the page shows what its address names: what is sent earlier waits for it. */
let showsAddress;
const ready = new Promise((resolve) => (showsAddress = resolve));
/** The number of navigations, so that an answer to an earlier one can be ignored. */
let visit = 0;

function bind() {
  composer.bind(submit, stop);
  byId("fresh").addEventListener("click", () => go("/"));
  byId("earlier").addEventListener("click", () => open?.openEarlier().catch(complain));
  byId("examples").addEventListener("click", ({ target }) => {
    const example = target.closest("button");
    if (!example || composer.state !== "idle") return;
    prompt.value = example.textContent;
    submit();
  });
  session.bind(enter, complain);
  threadList.bind(go, leaveGone);
  drawer.bind();
  bindActs(startInPlace);
  sending.bind(showAccepted);
  window.addEventListener("popstate", navigate);
}

/** Shows the conversation that the address names, once the broker lets this page in. */
async function enter() {
  if (!(await models.load())) return;
  threadList.refresh();
  await sending.goOn((thread) => history.replaceState(null, "", addressOf(thread)));
  await route();
  showsAddress();
}

function go(address) {
  history.pushState(null, "", address);
  return navigate();
}

function navigate() {
  complain(null);
  drawer.close();
  return route();
}

/** Leaves a conversation that is no more. What is on its way to it starts it anew. */
function leaveGone(isDeletedHere) {
  if (composer.state === "sending" && !isDeletedHere) return;
  history.replaceState(null, "", "/");
  navigate();
  if (!isDeletedHere) complain(new Error("This conversation is no longer there: it was deleted, or it has expired."));
}

function addressOf(thread) {
  return `?thread=${encodeURIComponent(thread)}`;
}

/** Shows the thread or the stream that the address names, or an empty page. */
async function route() {
  leave();
  const thisVisit = ++visit;
  const query = new URLSearchParams(location.search);
  const [thread, stream] = [query.get("thread"), query.get("stream")];
  byId("welcome").hidden = Boolean(thread || stream);
  threadList.mark(thread);
  if (!thread && !stream) return prompt.focus();
  try {
    if (thread) await openThread(thread);
    else await openStream(stream, thisVisit);
  } catch (error) {
    if (thisVisit !== visit) return;
    leave();
    byId("welcome").hidden = false;
    complain(error.status === 404 ? new Error(absent()) : error, "", error.status === 404 ? null : navigate);
  }
}

/** Shows a stream alone, or the thread that it is in. */
async function openStream(id, thisVisit) {
  const state = await api.state(id);
  if (thisVisit !== visit) return;
  if (state.thread) {
    history.replaceState(null, "", addressOf(state.thread));
    return route();
  }
  if (state.ended_ms) noteExpiry(state.ended_ms, state.ttl_s);
  open = new OpenThread(null, hooks({ ttlS: state.ended_ms ? null : state.ttl_s }));
  models.choose(state.model);
  statusline.address(location.href);
  statusline.show({ state: state.status, offset: 0, epoch: 0 });
  open.followAlone(id, state.messages, state.status !== "ended");
}

function openThread(thread) {
  open = new OpenThread(thread, hooks({}));
  statusline.address(location.href);
  statusline.show({ state: "queued", offset: 0, epoch: 0 });
  return open.open();
}

/** What the page does about news of a thread, while it is open. */
function hooks({ ttlS = null }) {
  return {
    onChange: showWhatRuns,
    onConnection: (connection) => statusline.show({ connection }),
    onEntry: report,
    onLost: lose,
    onOver(turn) {
      if (ttlS !== null) noteExpiry(Date.now(), ttlS);
      statusline.announce(`${outcomeTitle(turn.answer.outcome)}.`);
      threadList.refresh();
    },
    onTabs: (tabs) => statusline.show({ tabs }),
  };
}

function showWhatRuns() {
  const words = conversation.last()?.words;
  document.title = words ? `${words.slice(0, 60)} · midstream` : "midstream";
  byId("earlier").hidden = !open?.earlier;
  if (composer.state !== "sending") composer.show(open?.running.size ? "running" : "idle");
}

function report({ type, offset, epoch, model, outcome }, turn) {
  if (turn !== conversation.last()) return;
  const facts = { offset };
  if (type === "start") {
    Object.assign(facts, { epoch, state: "running" });
    models.choose(model);
  }
  if (type === "end") facts.state = `ended: ${outcome}`;
  statusline.show(facts);
}

/** Why there is nothing at this address. The broker no longer knows, but this tab's history may. */
function absent() {
  const until = history.state?.until_ms;
  if (until && until <= Date.now()) return `This stream has expired: it was kept until ${new Date(until).toLocaleString()}.`;
  const what = new URLSearchParams(location.search).has("thread") ? "conversation" : "stream";
  return `There is no such ${what}. It may have expired, because streams are kept for a limited time after their end, or it belongs to another key.`;
}

/** Notes in the tab's history until when the stream of this address is kept. */
function noteExpiry(endedMs, ttlS) {
  history.replaceState({ until_ms: endedMs + ttlS * 1_000 }, "");
}

/** Shows that the broker will not go on, so that the text so far does not look like a whole answer. */
function lose(error, turn) {
  if (error.status === 404 && open?.thread) return leaveGone(false);
  const reason = error.status === 404 ? absent() : wordsFor(error);
  if (turn && !turn.isOver) turn.answer.lost(reason);
  else complain(new Error(reason), "", navigate);
  statusline.show({ connection: "refused" });
  showWhatRuns();
  if (!(error instanceof Refused)) throw error;
}

function leave() {
  sending.leave();
  nextThread = randomWord();
  open?.close();
  open = null;
  document.title = "midstream";
  conversation.clear();
  statusline.hide();
  byId("earlier").hidden = true;
  composer.show("idle");
}

async function submit() {
  await ready;
  const content = prompt.value.trim();
  if (!content) return;
  const request = { messages: [{ role: "user", content }], thread: open?.thread ?? nextThread, continue_thread: true };
  sending.send({ ...request, model: models.chosen() }, { typed: true });
}

/** Starts a turn in the place of one on the page and of all after it, which are deleted once the broker has taken it. */
async function startInPlace(turn, words) {
  const { messages } = await api.state(turn.id);
  if (words !== undefined) messages.findLast(({ role }) => role === "user").content = words;
  const request = { messages, thread: open.thread ?? randomWord(), metadata: { replaces: turn.id }, model: models.chosen() };
  await sending.send(request, { replaced: open.thread ? conversation.idsFrom(turn.id) : [] });
}

/** Shows the turn that the broker has taken. */
function showAccepted({ request: { thread, messages }, replaced }, { id }) {
  replaced.forEach(conversation.remove);
  byId("welcome").hidden = true;
  if (open?.thread !== thread) {
    open?.close();
    history.pushState(null, "", addressOf(thread));
    conversation.clear();
    open = new OpenThread(thread, hooks({}));
    open.follow();
  }
  statusline.address(location.href);
  if (!conversation.get(id)) statusline.show({ state: "queued", offset: 0, epoch: 0 }); // else the tail was faster
  open.expect(id, messages.slice(messages.findLastIndex(({ role }) => role === "assistant") + 1));
  conversation.toEnd();
  threadList.refresh();
  threadList.mark(thread);
}

/** Stops the generation itself. Every tab reads its end. */
async function stop() {
  try {
    await Promise.all([...open.running].map(api.cancel));
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

bind();
await enter();
