/** Sends what this page starts, once however often it is sent, also over a reload. */

import * as api from "./api.js";
import { complain } from "./complaint.js";
import * as composer from "./composer.js";
import { begin, forget, forgetAccepted, forgetSoon, leave as leaveSubmission, noteUnanswered, stored, whileStaying } from "./submission.js";
import { textOf } from "./turn.js";

/** The submission on its way whose answer this page will show, or null. */
let current = null;
let onAccepted;

/** @param accepted shows a submission and the stream that it has become */
export function bind(accepted) {
  onAccepted = accepted;
}

/**
 * Sends a request. Meanwhile further calls send nothing.
 * @param typed whether its prompt is in the composer
 * @param replaced the streams that are deleted once the broker has taken it
 */
export async function send(request, { typed = false, replaced = [] }) {
  if (composer.state !== "idle") return;
  complain(null);
  current = begin(request, { typed, replaced });
  await deliver(current, onAccepted);
}

/** Sends the request again that was on its way when this tab was reloaded, and names its thread to `onThread`. */
export async function goOn(onThread) {
  const sent = stored();
  if (sent?.left) deliver(sent);
  if (!sent || sent.left) return;
  if (sent.typed) composer.prompt.value = textOf(sent.request.messages.at(-1).content);
  current = sent;
  await deliver(sent, () => onThread(sent.request.thread));
}

/** Leaves the page's conversation: what is on its way will be stopped. */
export function leave() {
  if (current) leaveSubmission(current);
  if (current?.typed) composer.prompt.value = "";
  current = null;
  forgetAccepted();
}

/** Sends a request until the broker accepts it. If the page was left meanwhile, stops the stream. */
async function deliver(sent, accepted) {
  if (!sent.left) composer.show("sending");
  try {
    const stream = await api.start(sent, (error) => sent.left || complain(error, "Trying again."));
    await whileStaying();
    if (sent.left) {
      await api.cancel(stream.id);
      return forget(sent);
    }
    noteUnanswered(null);
    complain(null);
    if (sent.typed) composer.prompt.value = "";
    composer.show("idle");
    accepted(sent, stream);
    await Promise.all(sent.replaced.map((id) => api.remove(id).catch(ignoreAbsent)));
    forgetSoon(sent);
  } catch (error) {
    complain(error);
    noteUnanswered(api.isPassing(error) ? sent : null);
    forget(sent);
    if (!sent.left) composer.show("idle");
  } finally {
    if (current === sent) current = null;
  }
}

/** Somebody else may have deleted it. */
function ignoreAbsent(error) {
  if (error.status !== 404) throw error;
}
