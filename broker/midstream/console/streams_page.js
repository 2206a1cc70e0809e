/** The list of streams: conditions in the address, pages by cursor, keys for those who do not like mice. */

import { doAct } from "./acts.js";
import { listAddress } from "./address.js";
import { actOnAll } from "./many_acts.js";
import { Filters, OFTEN, conditionsOf } from "./filters.js";
import { read } from "./operate.js";
import { StreamRows } from "./stream_rows.js";
import { setText } from "./status.js";
import { watch } from "./watch.js";
import { count } from "./words.js";
import { element } from "/page/dom.js";

const ROWS = 100;
const EVERY_MS = 1_500;
/** The status of conditions that do not exist or do not fit. */
const MISFIT = 400;

export function show({ main, place, go, complain, signal }) {
  const filters = new Filters((conditions) => changed(conditions));
  const rows = new StreamRows();
  const often = element("p", { className: "often" }, ...OFTEN.map(([text, pairs]) => element("a", { href: listAddress(pairs) }, text)));
  const live = element("input", { type: "checkbox", checked: true });
  const empty = element("p", { className: "empty", hidden: true }, "No stream fits these conditions.");
  const number = element("span", { className: "dim" }, "Searching …");
  const newest = element("a", { className: "button", hidden: true }, "Newest");
  const older = element("a", { className: "button", hidden: true }, "Older");
  const many = element("button", { type: "button", className: "quiet" }, "Act on all that fit …");
  let present = place;
  let asking = new AbortController();

  rows.table.hidden = true;
  main.append(
    element("div", { className: "head" }, element("h1", {}, "Streams"), often),
    filters.element,
    element("div", { className: "line" }, number, element("label", { className: "tick" }, live, "Live"), many),
    element("div", { className: "scroll" }, rows.table),
    empty,
    element("nav", { className: "pages", ariaLabel: "Pages" }, newest, older),
    keysHint(),
  );
  many.addEventListener("click", () => actOnAll(conditionsOf(present.params), go).catch(complain));
  live.addEventListener("change", () => live.checked && begin());
  document.addEventListener("keydown", (event) => pressed(event), { signal });
  signal.addEventListener("abort", () => asking.abort());
  update(place);
  return update;

  function update(next) {
    present = next;
    filters.fill(next.params);
    for (const link of often.children) {
      if (new URL(link.href).search === location.search) link.ariaCurrent = "true";
      else link.removeAttribute("aria-current");
    }
    begin();
  }

  function begin() {
    asking.abort();
    if (signal.aborted) return;
    asking = new AbortController();
    watch(look, { everyMs: EVERY_MS, signal: asking.signal, complain: failed });
  }

  /** Shows an error; rows of an earlier search do not stay where the present one is refused. */
  function failed(error, also) {
    if (error?.status === MISFIT) {
      rows.show([]);
      rows.table.hidden = true;
      setText(number, "");
    }
    complain(error, also);
  }

  async function look() {
    const query = new URLSearchParams([...present.params, ["limit", ROWS]]);
    const own = asking.signal;
    const page = await read(`streams?${query}`, { signal: own });
    if (own.aborted) return;
    rows.show(page.data);
    empty.hidden = page.data.length > 0;
    rows.table.hidden = !empty.hidden;
    const more = page.next_cursor ? " and more" : "";
    setText(number, `${count(page.data.length, "stream")}${more}${present.params.get("cursor") ? ", an older page" : ""}`);
    const conditions = conditionsOf(present.params);
    newest.hidden = !present.params.get("cursor");
    newest.href = listAddress(conditions);
    older.hidden = !page.next_cursor;
    if (page.next_cursor) older.href = listAddress([...conditions, ["cursor", page.next_cursor]]);
    if (!live.checked) asking.abort();
  }

  function changed(conditions) {
    const address = listAddress(conditions);
    if (address !== location.pathname + location.search) go(address);
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog")) return;
    if (event.key === "Escape" && filters.element.contains(event.target)) rows.move(0);
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "/") filters.focus();
    else if (event.key === "j") rows.move(1);
    else if (event.key === "k") rows.move(-1);
    else if (event.key === "x" && rows.focused) doAct("cancel", rows.focused).then(begin, complain);
    else return;
    event.preventDefault();
  }
}

function keysHint() {
  const keys = [["/", "searches"], ["j", "goes down"], ["k", "goes up"], ["Enter", "opens"], ["x", "cancels"]];
  return element("p", { className: "hint" }, ...keys.flatMap(([key, does]) => [element("kbd", {}, key), ` ${does}  `]));
}
