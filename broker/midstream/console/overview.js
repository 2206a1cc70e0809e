/** What is going on: the last hour in plots, and the state of all processes. */

import { listAddress } from "./address.js";
import { read } from "./operate.js";
import { canvas, drawBars, drawCurves } from "./plots.js";
import { setStatus, setText, statusMark } from "./status.js";
import { watch } from "./watch.js";
import { NONE, about, bytes, count, duration, number } from "./words.js";
import { element } from "/page/dom.js";

const EVERY_MS = 2_000;
/** The minutes change slowly, and a diagnosis looks at everything. */
const STATS_EVERY_MS = 10_000;
const DOCTOR_EVERY_MS = 30_000;

export function show({ main, complain, signal }) {
  const tiles = {
    starts: new Tile("Starts", "Starts for each minute of the last hour"),
    outcomes: new Tile("Ends", "Ends for each minute of the last hour, by their outcome"),
    first: new Tile("Time to first token", "Time to the first token for each minute of the last hour"),
    tokens: new Tile("Tokens", "Output tokens per second for each minute of the last hour"),
    queue: new Tile("Queue", "Longest queue in each minute of the last hour"),
    workers: new Tile("Workers"),
    brokers: new Tile("Brokers"),
    redis: new Tile("Redis"),
  };
  const findings = element("ul", {}, element("li", { className: "dim" }, "Looking …"));
  const live = element("a", { href: listAddress([["status", "queued"], ["status", "running"]]) }, "Live streams");
  main.append(
    element("div", { className: "head" }, element("h1", {}, "Overview"), element("span", { className: "dim" }, "the last hour"), live),
    element("div", { className: "tiles" }, ...Object.values(tiles).map((tile) => tile.element)),
    element("section", { className: "card" }, element("h2", {}, "What is wrong or unsafe"), findings),
  );
  const often = (look, everyMs) => watch(look, { everyMs, signal, complain });
  often(async () => showStats(tiles, await read("stats", { signal })), STATS_EVERY_MS);
  often(async () => {
    const [workers, brokers, queue, redis] = await Promise.all(
      ["workers", "brokers", "queue", "redis"].map((path) => read(path, { signal })),
    );
    showProcesses(tiles, workers.data, brokers.data);
    showQueue(tiles.queue, queue);
    setText(live, count(queue.live_streams, "live stream"));
    showRedis(tiles.redis, redis);
  }, EVERY_MS);
  often(async () => showFindings(findings, await read("doctor", { signal })), DOCTOR_EVERY_MS);
}

/** A number with what belongs to it, and where it has one a plot. */
class Tile {
  #value = element("p", { className: "value" }, NONE);
  #under = element("p", { className: "under" });
  #legend = element("p", { className: "legend" });
  plot = null;
  element;

  constructor(title, label) {
    this.element = element("section", { className: "card" }, element("h2", {}, title), this.#value, this.#under);
    if (label) this.element.append((this.plot = canvas(label)), this.#legend);
  }

  set(value, unit, under) {
    this.#value.replaceChildren(value, element("small", {}, unit && ` ${unit}`));
    setText(this.#under, under);
  }

  /** @param {[string, string][]} names classes of colours, and what they stand for */
  explain(names) {
    this.#legend.replaceChildren(
      ...names.map(([className, text]) => element("span", {}, element("i", { className }), text)),
    );
  }
}

function showStats(tiles, { minutes, hour }) {
  const { outcomes, first_chunk_s: first } = hour;
  const last = minutes.at(-2) ?? hour;
  tiles.starts.set(number(hour.starts), "starts", `${number(last.starts)} in the last full minute, ${number(hour.joined)} joined`);
  drawCurves(tiles.starts.plot, [minutes.map(({ starts }) => starts)]);

  const ends = Object.values(outcomes).reduce((sum, value) => sum + value, 0);
  const failures = Object.entries(hour.failures).map(([code, times]) => `${code} ${number(times)}`);
  tiles.outcomes.set(number(ends), "ends", failures.length ? `Failures: ${failures.join(", ")}` : "No failures");
  drawBars(tiles.outcomes.plot, minutes.map(({ outcomes: each }) => [each.completed, each.failed, each.interrupted, each.cancelled]));
  tiles.outcomes.explain([
    ["bar-1", `completed ${number(outcomes.completed)}`],
    ["bar-2", `failed ${number(outcomes.failed)}`],
    ["bar-3", `interrupted ${number(outcomes.interrupted)}`],
    ["bar-4", `cancelled ${number(outcomes.cancelled)}`],
  ]);

  const [half, most] = [first.p50, first.p95].map((value) => (value == null ? NONE : duration(value * 1_000)));
  tiles.first.set(half, first.p50 == null ? "" : "median", `95 % within ${most}`);
  const times = minutes.map(({ first_chunk_s: each }) => each);
  drawCurves(tiles.first.plot, [times.map(({ p50 }) => p50), times.map(({ p95 }) => p95)]);

  const calls = `${number(hour.paid_calls)} paid calls, ${number(hour.paid_calls_avoided)} avoided`;
  tiles.tokens.set(about(last.output_tokens_per_s), "tokens/s", `${number(hour.output_tokens)} tokens out, ${calls}`);
  drawCurves(tiles.tokens.plot, [minutes.map((each) => each.output_tokens_per_s)]);
  drawCurves(tiles.queue.plot, [minutes.map((each) => each.most_queued)]);
}

function showProcesses({ workers, brokers }, workerRows, brokerRows) {
  const sum = (rows, valueOf) => rows.reduce((total, row) => total + valueOf(row), 0);
  const alive = workerRows.filter((row) => row.alive);
  const [slots, free] = [sum(alive, (row) => row.slots), sum(alive, (row) => row.free)];
  workers.set(number(alive.length), "alive", `${number(slots - free)} of ${number(slots)} slots taken${others(workerRows)}`);
  const tails = sum(brokerRows, (row) => row.tails);
  const lag = Math.max(0, ...brokerRows.map((row) => row.slowest_tail_lag_entries));
  const words = `${count(tails, "tail")}, the slowest lags by ${lag === 1 ? "1 entry" : `${number(lag)} entries`}`;
  brokers.set(number(brokerRows.filter((row) => row.alive).length), "alive", words + others(brokerRows));
}

function others(rows) {
  const silent = rows.filter((row) => !row.alive).length;
  const draining = rows.filter((row) => row.draining).length;
  return (silent ? `, ${silent} silent` : "") + (draining ? `, ${draining} draining` : "");
}

function showQueue(tile, { depth, oldest_age_s: oldest, slips_without_stream: astray, streams_without_slip: lost }) {
  const misfits = astray.number + lost.number;
  const words = depth ? `the oldest waits for ${duration(oldest * 1_000)}` : "nothing waits";
  tile.set(number(depth), depth === 1 ? "slip" : "slips", words + (misfits ? `, ${count(misfits, "misfit")}` : ""));
}

function showRedis(tile, { server, version, memory, persistence, commands_per_s: rate, eviction, warnings }) {
  const most = memory.max_bytes ? `of ${bytes(memory.max_bytes)}` : "no limit";
  const hours = memory.forecast?.hours_left;
  const facts = [
    `${server} ${version}`,
    `${number(rate)} commands/s`,
    persistence.appendonly ? `append-only file, ${persistence.appendfsync ?? "fsync unknown"}` : "no append-only file",
    hours == null ? "" : `full in ${duration(hours * 3_600_000)}`,
    eviction.evicted_keys ? `${number(eviction.evicted_keys)} keys evicted` : "",
    warnings.length ? count(warnings.length, "warning") : "",
  ];
  tile.set(bytes(memory.used_bytes), most, facts.filter(Boolean).join(", "));
}

function showFindings(list, { data, worst }) {
  const wrong = data.filter(({ level }) => level !== "ok");
  const rows = wrong.map(({ level, check, message }) => element("li", {}, markOf(level), element("span", {}, `${check}: ${message}`)));
  if (worst === "ok") rows.push(element("li", {}, markOf("ok"), "Nothing: server, clocks, workers, settings and limits fit."));
  list.replaceChildren(...rows);
}

function markOf(level) {
  const mark = statusMark();
  setStatus(mark, level);
  return mark;
}
