/** One stream: what it is, why it stands where it stands, its entries, and what can be done about it. */

import { ACTS, doAct } from "./acts.js";
import { streamAddress } from "./address.js";
import { readStream } from "./operate.js";
import { setStatus, setText, statusMark, statusOf } from "./status.js";
import { StreamFacts } from "./stream_facts.js";
import { watch } from "./watch.js";
import { element } from "/page/dom.js";

/** The shortest pause between two looks, in ms. After a look that took long the pause is ten times as long as that. */
const EVERY_MS = 2_000;
const REST = 10;
const ENDED_EVERY_MS = 30_000;

export function show({ main, place, go, complain, signal }) {
  const mark = statusMark();
  const why = element("p", { className: "why" }, "Looking …");
  const facts = new StreamFacts();
  const acts = Object.entries(ACTS).map(([name, { label }]) => {
    const button = element("button", { type: "button", className: name === "delete" ? "quiet bad small" : "quiet small" }, label);
    button.addEventListener("click", () => act(name).catch(complain));
    return [name, button];
  });
  let report = null;
  let looking = new AbortController();
  main.append(
    element("div", { className: "head" }, element("h1", { className: "mono" }, place.id), mark),
    why,
    element("div", { className: "line acts" }, ...acts.map(([, button]) => button)),
    facts.element,
  );
  signal.addEventListener("abort", () => looking.abort());
  begin();

  function begin() {
    looking.abort();
    looking = new AbortController();
    watch(look, { everyMs: EVERY_MS, signal: looking.signal, complain });
  }

  async function look() {
    const beganMs = performance.now();
    report = await readStream(place, "", { signal: looking.signal });
    setStatus(mark, statusOf(report));
    setText(why, report.why);
    facts.show(report);
    for (const [name, button] of acts) button.hidden = !ACTS[name].isOf(report);
    return report.status === "ended" ? ENDED_EVERY_MS : Math.max(EVERY_MS, REST * (performance.now() - beganMs));
  }

  async function act(name) {
    const answer = await doAct(name, place);
    if (answer === null) return;
    if (name === "delete") return go("/console/streams", { replace: true });
    if (answer.requeued_from) return go(streamAddress(answer.tenant, answer.id));
    begin();
  }
}
