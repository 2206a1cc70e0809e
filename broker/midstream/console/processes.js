/** The workers and brokers on the roll, with what each does, and the way to end one gently. */

import { streamAddress } from "./address.js";
import { announce, confirmed } from "./dialog.js";
import { replaceRows } from "./focus.js";
import { drain, read } from "./operate.js";
import { setStatus, statusMark } from "./status.js";
import { watch } from "./watch.js";
import { NONE, bytes, count, duration, number } from "./words.js";
import { element } from "/page/dom.js";

const EVERY_MS = 2_000;
/** The most streams of one worker that are listed. */
const MOST_STREAMS = 200;
const COMMON = [
  ["Version", ({ version }) => version],
  ["Up for", ({ uptime_ms: ms }) => duration(ms)],
  ["Loop lag", ({ loop_lag_ms: ms }) => duration(ms)],
  ["Clock", ({ clock_skew_ms: ms }) => `${ms > 0 ? "+" : ""}${ms} ms`],
  ["Pool", ({ pool }) => (pool ? `${pool.in_use} of ${pool.max}, ${count(pool.waits, "wait")}` : NONE)],
];
const KINDS = {
  worker: [
    ["Slots", ({ slots, free }) => `${number(slots - free)} of ${number(slots)}`],
    ["Lease renewed", ({ renewal_age_ms: ms }) => `${duration(ms)} ago`],
    ["Late renewals", ({ late_renewals: times }) => number(times)],
  ],
  broker: [
    ["Tails", ({ tails }) => number(tails)],
    ["Streams", ({ followed_streams: streams }) => number(streams)],
    ["Slowest lags by", ({ slowest_tail_lag_entries: entries }) => number(entries)],
    ["Unsent", ({ unsent_bytes: value }) => bytes(value)],
    ["Window", ({ window_bytes: value }) => bytes(value)],
  ],
};
const DRAINS = {
  worker: "It takes no more streams, finishes or hands over what it runs, and ends. Its supervisor may start it again.",
  broker: "It parts from its tails, whose clients come back elsewhere, and ends. Its supervisor may start it again.",
};

export function show({ main, complain, signal }) {
  const tables = { worker: element("tbody"), broker: element("tbody") };
  const streams = element("tbody");
  const draining = new Set();
  main.append(
    element("h1", {}, "Processes"),
    element("h2", {}, "Workers"),
    tableOf(headOf("worker"), tables.worker, "Workers"),
    element("h2", {}, "Brokers"),
    tableOf(headOf("broker"), tables.broker, "Brokers"),
    element("h2", {}, "What the workers run"),
    tableOf(["Stream", "Model", "State", "Worker", "Attempt", "Entries", "Runs for", "Lease"], streams, "Running generations"),
  );
  main.addEventListener("click", ({ target }) => {
    const { kind, name } = target.closest("button")?.dataset ?? {};
    if (name) askToDrain(kind, name, draining).catch(complain);
  }, { signal });
  watch(async () => {
    const [workers, brokers] = await Promise.all([read("workers", { signal }), read("brokers", { signal })]);
    fill(tables.worker, "worker", workers.data, draining);
    fill(tables.broker, "broker", brokers.data, draining);
    replaceRows(streams, generations(workers.data));
  }, { everyMs: EVERY_MS, signal, complain });
}

function headOf(kind) {
  return ["Name", "State", ...[...KINDS[kind], ...COMMON].map(([title]) => title), ""];
}

function tableOf(titles, body, caption) {
  const head = element("tr", {}, ...titles.map((title) => element(title ? "th" : "td", title ? { scope: "col" } : {}, title)));
  const table = element("table", {}, element("caption", { className: "unseen" }, caption), element("thead", {}, head), body);
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption }, table);
}

function fill(body, kind, rows, draining) {
  if (!rows.length) return replaceRows(body, [element("tr", {}, element("td", { className: "dim" }, `No ${kind} is alive.`))]);
  const made = rows.map((row) => {
    const mark = statusMark();
    setStatus(mark, row.draining ? "draining" : row.alive ? "alive" : "silent");
    const facts = [...KINDS[kind], ...COMMON].map(([, textOf]) => element("td", {}, textOf(row)));
    const button = element("button", { type: "button", className: "quiet small" }, draining.has(row.name) ? "Asked" : "Drain");
    button.disabled = row.draining || draining.has(row.name);
    button.ariaLabel = `Drain ${row.name}`;
    Object.assign(button.dataset, { kind, name: row.name });
    const name = element("td", { className: "mono" }, row.name);
    return element("tr", {}, name, element("td", {}, mark), ...facts, element("td", {}, button));
  });
  return replaceRows(body, made);
}

function generations(workers) {
  const rows = workers.flatMap(({ name, generations: each }) => each.map((generation) => ({ worker: name, ...generation })));
  rows.sort((one, other) => other.age_ms - one.age_ms);
  const made = rows.slice(0, MOST_STREAMS).map((row) => {
    const link = element("a", { href: streamAddress(row.tenant, row.id), className: "mono" }, `${row.tenant}/${row.id}`);
    const texts = [row.model, row.state, row.worker, number(row.epoch), number(row.tail), duration(row.age_ms), `${duration(row.lease_age_ms)} old`];
    return element("tr", {}, element("td", {}, link), ...texts.map((text) => element("td", {}, text)));
  });
  const left = rows.length - made.length;
  if (left) made.push(element("tr", {}, element("td", { className: "dim" }, `${number(left)} more`)));
  if (!rows.length) made.push(element("tr", {}, element("td", { className: "dim" }, "Nothing runs.")));
  return made;
}

async function askToDrain(kind, name, draining) {
  const title = `Drain ${name}?`;
  if ((await confirmed({ title, text: DRAINS[kind], button: `Drain the ${kind}` })) === null) return;
  await drain(kind, name);
  draining.add(name);
  announce(`Drain: ${name} was asked to end.`);
}
