/** The thread on the page: its past, its tail, and what runs in it. */

import * as api from "./api.js";
import * as conversation from "./conversation.js";
import { pastTurns } from "./past_turn.js";
import { Presence } from "./presence.js";
import { Tail, ThreadTail } from "/midstream.js";

export class OpenThread {
  /** The thread's name, or null for a stream that is in none. */
  thread;
  /** The cursor of what came before the turns on the page, or null. */
  earlier = null;
  /** The streams of which this page knows that they run. */
  running = new Set();
  #hooks;
  #tail = null;
  #presence = null;
  #isClosed = false;

  /**
   * @param hooks `onChange()` where the set of what runs, or the past, is another one; `onEntry(entry, turn)`; `onOver(turn)`
   * after the frame that has shown an end; `onConnection(state)`; `onTabs(count)`; `onLost(error, turn)`
   */
  constructor(thread, hooks) {
    this.thread = thread;
    this.#hooks = hooks;
  }

  /** Shows the thread's past, and follows it. @throws {Refused} there is no such thread */
  async open() {
    const page = await api.thread(this.thread);
    if (this.#isClosed) return;
    const pasts = pastTurns(page);
    // The last turn is read from its log, which knows more of it than its messages do.
    const live = pasts.findIndex(({ row }, index) => row.status !== "ended" || index === pasts.length - 1);
    conversation.addPast(pasts.slice(0, live));
    this.earlier = page.next_cursor;
    const { row, prompts } = pasts[live];
    this.expect(row.id, prompts, row.status !== "ended").isPlaced = true;
    conversation.toEnd();
    this.follow(`${row.id}.0`);
  }

  /** Shows what came before the turns on the page. */
  async openEarlier() {
    const page = await api.thread(this.thread, this.earlier);
    if (this.#isClosed) return;
    conversation.addPast(pastTurns(page));
    this.earlier = page.next_cursor;
    this.#hooks.onChange();
  }

  /** Follows the thread after a cursor: what runs, and whatever anybody starts. */
  follow(after = null) {
    const options = { after, onConnection: this.#hooks.onConnection, onEntry: (entry, place) => this.#take(entry, place.stream_id) };
    this.#tail = new ThreadTail(`${api.threadUrl(this.thread)}/events`, options);
    this.#begin(this.thread);
  }

  /** Follows a stream that is in no thread. */
  followAlone(id, messages, isRunning) {
    this.expect(id, messages, isRunning).isPlaced = true;
    const onEntry = (entry) => this.#take(entry, id);
    this.#tail = new Tail(`${api.streamUrl(id)}/events`, { onConnection: this.#hooks.onConnection, onEntry });
    this.#begin(id);
  }

  /** Shows a turn whose entries are still to come. */
  expect(id, messages, isRunning = true) {
    const turn = conversation.get(id) ?? conversation.add(id, (each) => each.answer.outcome && !each.isOver && this.#over(each));
    turn.ask(messages);
    conversation.keepPlace();
    if (isRunning && !turn.isOver) this.running.add(id);
    this.#hooks.onChange();
    return turn;
  }

  close() {
    this.#isClosed = true;
    this.#tail?.close();
    this.#presence?.leave();
  }

  #begin(name) {
    this.#presence = new Presence(name, this.#hooks.onTabs);
    this.#tail.follow().catch((error) => {
      if (this.#isClosed) return;
      this.running.clear();
      this.#hooks.onLost(error, conversation.last());
    });
  }

  #take(entry, id) {
    if (this.#isClosed) return;
    if (entry.type === "stream_started") this.#start(entry);
    else if (entry.type === "stream_ended") this.#end(id, entry);
    else if (entry.type === "reset" && id === "") this.#clear();
    else this.#show(entry, conversation.get(id));
  }

  #start({ stream_id: id, messages }) {
    const isNew = !conversation.get(id);
    this.expect(id, messages).isPlaced = true;
    if (isNew) this.#replace(id);
  }

  /** Removes the turns that another page has replaced by this one. */
  async #replace(id) {
    const { metadata } = await api.state(id).catch(() => ({}));
    if (!metadata?.replaces || this.#isClosed) return;
    const ids = conversation.idsFrom(metadata.replaces);
    const end = ids.indexOf(id);
    if (end > 0) ids.slice(0, end).forEach(conversation.remove);
  }

  #end(id, { outcome, trimmed }) {
    this.running.delete(id);
    if (outcome === null || trimmed) conversation.remove(id);
    this.#hooks.onChange();
  }

  #clear() {
    conversation.clear();
    this.running.clear();
    this.earlier = null;
    this.#hooks.onChange();
  }

  #show(entry, turn) {
    if (!turn) return;
    turn.answer.take(entry);
    this.#hooks.onEntry(entry, turn);
  }

  #over(turn) {
    turn.end(turn.answer.outcome);
    this.running.delete(turn.id);
    this.#hooks.onOver(turn);
    this.#hooks.onChange();
  }
}
