/** The facts of a stream: a list of them, its attempts and its tails. */

import { listAddress } from "./address.js";
import { setText } from "./status.js";
import { NONE, bytes, clock, count, duration, moment, number } from "./words.js";
import { element } from "/page/dom.js";

/** Name, text, and where a search for the same leads. */
const FACTS = [
  ["Tenant", ({ tenant }) => tenant, ({ tenant }) => [["tenant", tenant]]],
  ["User", ({ user }) => user, ({ user }) => [["user", user]]],
  ["Thread", ({ thread }) => thread, ({ thread }) => [["thread", thread]]],
  ["Model", ({ model }) => model, ({ model }) => [["model", model]]],
  ["Entries", ({ first, tail }) => (first > 1 ? `${number(first)} to ${number(tail)}` : number(tail))],
  ["Log", ({ log_bytes: size }) => (size ? bytes(size) : null)],
  ["Created", ({ created_ms: ms }) => moment(ms)],
  ["Ended", ({ ended_ms: ms }) => (ms ? moment(ms) : null)],
  ["Waited in the queue", ({ timings }) => duration(timings.queued_ms)],
  ["First delta after", ({ timings }) => (timings.first_delta_ms == null ? null : duration(timings.first_delta_ms))],
  ["Longest gap", longestGap],
  ["Silent for", ({ timings }) => (timings.silent_ms == null ? null : duration(timings.silent_ms))],
  ["In all", ({ timings }) => duration(timings.total_ms)],
  ["Worker", ({ lease }) => lease?.owner?.worker],
  ["Lease", ({ lease }) => (lease ? `renewed ${duration(lease.age_ms)} ago, ${lease.left_ms > 0 ? `${duration(lease.left_ms)} left` : "run out"}` : null)],
  ["When its worker is lost", ({ on_worker_loss: policy }) => policy],
  ["Paid calls", ({ paid_calls: calls, retries }) => `${number(calls)}${retries ? `, ${count(retries, "retry").replace("retrys", "retries")}` : ""}`],
  ["Usage", ({ usage }) => wordsOf(usage)],
  ["Cost", ({ cost }) => wordsOf(cost)],
  ["Finish reason", ({ finish_reason: reason }) => reason],
  ["Failure", ({ error }) => (error ? `${error.code}: ${error.message}` : null)],
  ["Upstream's id", ({ upstream_id: id }) => id],
  ["Trace", ({ trace_id: id }) => id],
  ["Kept after its end", ({ ttl_s: ttlS }) => duration(ttlS * 1_000)],
  ["Metadata", ({ metadata }) => wordsOf(metadata)],
];

export class StreamFacts {
  #list = element("dl", { className: "facts" });
  #cells = new Map();
  #attempts = tableOf("Attempts", ["Attempt", "From entry", "Claimed", "Ended by", "Ended", "Worker"]);
  #tails = tableOf("Tails", ["Client", "Cursor", "Lag", "Broker"]);
  element = element("div", { className: "about" }, this.#list, this.#attempts.element, this.#tails.element);

  show(report) {
    for (const [name, textOf, conditionsOf] of FACTS) this.#set(name, textOf(report), conditionsOf?.(report));
    const { attempts, tails } = report;
    this.#attempts.show(attempts.map((each) => [
      number(each.epoch),
      number(each.offset),
      clock(each.claimed_ms),
      each.ended_by ?? (each.epoch === report.epoch && report.status === "running" ? "runs" : NONE),
      clock(each.ended_ms),
      each.owner?.worker ?? NONE,
    ]));
    this.#tails.show(tails.data.map(({ client, cursor, lag, broker }) => [client, number(cursor), number(lag), broker]));
    const unasked = tails["brokers_asked"] - tails.brokers_answered;
    this.#tails.note(unasked ? `${count(unasked, "broker")} did not answer.` : tails.number ? `${count(tails.number, "tail")} in all` : "Nobody reads it now.");
  }

  #set(name, text, conditions) {
    let cell = this.#cells.get(name);
    if (!cell) {
      cell = { value: element("dd"), link: conditions && element("a") };
      cell.row = element("div", {}, element("dt", {}, name), cell.value);
      if (cell.link) cell.value.append(cell.link);
      this.#cells.set(name, cell);
      this.#list.append(cell.row);
    }
    cell.row.hidden = text == null || text === "";
    if (cell.row.hidden) return;
    if (cell.link) cell.link.href = listAddress(conditions);
    setText(cell.link ?? cell.value, String(text));
  }
}

function tableOf(title, titles) {
  const body = element("tbody");
  const note = element("p", { className: "dim" });
  const head = element("tr", {}, ...titles.map((text) => element("th", { scope: "col" }, text)));
  const table = element("table", {}, element("caption", { className: "unseen" }, title), element("thead", {}, head), body);
  const scroll = element("div", { className: "scroll", hidden: true, tabIndex: 0, role: "region", ariaLabel: title }, table);
  return {
    element: element("section", {}, element("h2", {}, title), scroll, note),
    note: (text) => setText(note, text),
    show(rows) {
      scroll.hidden = !rows.length;
      body.replaceChildren(...rows.map((cells) => element("tr", {}, ...cells.map((text) => element("td", {}, text)))));
    },
  };
}

/** Of a long log the report has not read all entries; the plot of the gaps has. */
function longestGap({ timings, first, tail, entries_read: read }) {
  if (!timings.longest_gap_ms || read < tail - first + 1) return null;
  return `${duration(timings.longest_gap_ms)}, after entry ${number(timings.longest_gap_after)}`;
}

/** An object of numbers and texts in one line. */
function wordsOf(value) {
  if (value == null) return null;
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .filter(([, part]) => part !== null && part !== 0)
    .map(([name, part]) => `${name.replaceAll("_", " ")} ${typeof part === "object" ? wordsOf(part) : part}`)
    .join(", ");
}
