/** How a stream's entries are spread over its life, with attempts, stalls and tails; and how long the gaps are. */

import { canvas, shape } from "./plots.js";
import { setText } from "./status.js";
import { bytes, count, duration, number } from "./words.js";
import { element } from "/page/dom.js";

const WIDTH = 720;
const HEIGHT = 96;

export class StreamPlots {
  #course = canvas("Entries over time", WIDTH, HEIGHT);
  #ends = element("p", { className: "scale" }, element("span"), element("span"));
  #legend = element("p", { className: "legend" });
  #gaps = canvas("Gaps between entries by their length", WIDTH, HEIGHT);
  #classes = element("p", { className: "scale classes" });
  #stalls = element("p", { className: "under" });
  element = element(
    "div",
    { className: "tiles plots" },
    element("section", { className: "card wider" }, element("h2", {}, "Entries over time"), this.#course, this.#ends, this.#legend, this.#stalls),
    element("section", { className: "card" }, element("h2", {}, "Gaps between entries"), this.#gaps, this.#classes),
  );

  /**
   * @param spread what `…/shape` answers
   * @param report what the stream's report is
   * @param {(offset: number) => void} onJump is called for a stall that was chosen
   */
  show(spread, report, onJump) {
    this.#showCourse(spread, report);
    this.#showGaps(spread.gaps);
    const stalls = [...spread.stalls].sort((one, other) => other.gap_ms - one.gap_ms).slice(0, 5);
    this.#stalls.replaceChildren(...(stalls.length ? ["Longest stalls: "] : []), ...stalls.flatMap(({ before_offset: offset, gap_ms: ms }) => {
      const button = element("button", { type: "button", className: "quiet small" }, `${duration(ms)} before entry ${number(offset)}`);
      button.addEventListener("click", () => onJump(offset));
      return [button, " "];
    }));
  }

  #showCourse({ slices, slice_ms: sliceMs, began_ms: beganMs, stalls, entries, bytes: size }, report) {
    const spanMs = slices.length * sliceMs;
    const x = (ms) => Math.min(WIDTH, Math.max(0, ((ms - beganMs) / spanMs) * WIDTH));
    const most = Math.max(...slices) || 1;
    const step = WIDTH / slices.length;
    const bands = report.attempts.map(({ epoch, claimed_ms: fromMs, ended_ms: toMs, ended_by: how }) => {
      const [from, to] = [x(fromMs ?? beganMs), x(toMs ?? beganMs + spanMs)];
      const words = `Attempt ${epoch}${how ? `, ended by: ${how}` : ""}`;
      return titled("rect", { class: `band band-${epoch % 2}`, x: from, y: 0, width: Math.max(1, to - from), height: HEIGHT }, words);
    });
    const silences = stalls.map(({ began_ms: fromMs, gap_ms: ms, before_offset: offset }) => {
      const place = { x: x(fromMs), y: 0, width: Math.max(1.5, x(fromMs + ms) - x(fromMs)), height: HEIGHT };
      return titled("rect", { class: "stall", ...place }, `${duration(ms)} of silence before entry ${number(offset)}`);
    });
    const bars = slices.flatMap((value, at) => {
      const height = (value / most) * (HEIGHT - 14);
      return value ? [shape("rect", { class: "entry-bar", x: at * step + 0.5, y: HEIGHT - height, width: step - 1, height })] : [];
    });
    const tails = report.tails.data.map(({ cursor, client, lag }) => {
      const at = placeIn(slices, cursor - report.first + 1) * step;
      return titled("path", { class: "tail", d: `M${at},0 v${HEIGHT}` }, `${client} at entry ${number(cursor)}, lags by ${number(lag)}`);
    });
    const ground = shape("line", { class: "ground", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT });
    this.#course.replaceChildren(...bands, ...silences, ground, ...bars, ...tails);
    this.#course.ariaLabel = `${count(entries, "entry").replace("entrys", "entries")} over ${duration(spanMs)}, ${count(stalls.length, "stall")}`;
    setText(this.#ends.firstChild, "0 s");
    setText(this.#ends.lastChild, duration(spanMs));
    const parts = [
      ["entry-bar", `${number(entries)} entries, ${bytes(size)}`],
      ["band", count(report.attempts.length, "attempt")],
      ["stall", `${count(stalls.length, "stall")} of 1 s and more`],
      ["tail", count(report.tails.number, "tail")],
    ];
    this.#legend.replaceChildren(...parts.map(([className, text]) => element("span", {}, element("i", { className }), text)));
  }

  #showGaps(gaps) {
    const most = Math.max(...gaps.map(({ number: times }) => times)) || 1;
    const step = WIDTH / gaps.length;
    const lower = (at) => (at ? gaps[at - 1].upto_ms : 0);
    const bars = gaps.map(({ upto_ms: upto, number: times }, at) => {
      const height = times ? Math.max(2, (times / most) * (HEIGHT - 6)) : 0;
      const words = `${number(times)} from ${duration(lower(at))}${upto === null ? " on" : ` to ${duration(upto)}`}`;
      const isStall = lower(at) >= 1_000;
      return titled("rect", { class: isStall ? "stalled-bar" : "entry-bar", x: at * step + 3, y: HEIGHT - height, width: step - 6, height }, words);
    });
    this.#gaps.replaceChildren(shape("line", { class: "ground", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT }), ...bars);
    this.#gaps.ariaLabel = `Gaps: ${gaps.map(({ upto_ms: upto, number: times }) => `${number(times)} ${upto === null ? "longer" : `up to ${duration(upto)}`}`).join(", ")}`;
    const words = gaps.map(({ upto_ms: upto }) => (upto === null ? "more" : `${upto < 1_000 ? upto : `${upto / 1_000} s`}`));
    this.#classes.replaceChildren(...words.map((text) => element("span", {}, text)));
  }
}

/** In which slice the entry with this number is. */
function placeIn(slices, entry) {
  let sum = 0;
  for (const [at, value] of slices.entries()) {
    sum += value;
    if (sum >= entry) return at + 1;
  }
  return slices.length;
}

/** A shape that tells what it is when one points at it. */
function titled(name, attributes, words) {
  return shape(name, attributes, shape("title", {}, words));
}
