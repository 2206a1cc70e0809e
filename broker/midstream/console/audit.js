/** What operators have done: the newest acts first. */

import { streamAddress } from "./address.js";
import { replaceRows } from "./focus.js";
import { read } from "./operate.js";
import { watch } from "./watch.js";
import { NONE, moment } from "./words.js";
import { element } from "/page/dom.js";

const ROWS = 200;
const EVERY_MS = 3_000;
/** Facts that have columns of their own. */
const COLUMNS = ["id", "time_ms", "act", "result", "tenant", "stream", "by"];

export function show({ main, complain, signal }) {
  const body = element("tbody");
  const titles = ["When", "Act", "Result", "Stream", "By", "More"];
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const table = element("table", {}, element("caption", { className: "unseen" }, "Acts of operators, newest first"), element("thead", {}, head), body);
  const empty = element("p", { className: "empty", hidden: true }, "No operator has done anything yet.");
  main.append(
    element("div", { className: "head" }, element("h1", {}, "Audit"), element("span", { className: "dim" }, `the newest ${ROWS} acts`)),
    element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Audit" }, table),
    empty,
  );
  let newest = "";
  watch(async () => {
    const { data } = await read(`audit?limit=${ROWS}`, { signal });
    empty.hidden = data.length > 0;
    table.hidden = !empty.hidden;
    if (data.at(-1)?.id === newest) return;
    newest = data.at(-1)?.id ?? "";
    replaceRows(body, data.reverse().map(rowOf));
  }, { everyMs: EVERY_MS, signal, complain });
}

function rowOf(row) {
  const { tenant, stream, by = {} } = row;
  const subject = tenant && stream ? element("a", { href: streamAddress(tenant, stream), className: "mono" }, `${tenant}/${stream}`) : tenant || NONE;
  const who = [by.credential, by.user, by.tenant].filter(Boolean).join(" · ") || by.address || NONE;
  const more = Object.entries(row).filter(([name]) => !COLUMNS.includes(name));
  const cells = [moment(row.time_ms), row.act, row.result, subject, who].map((part) => element("td", {}, part));
  cells[4].title = [by.address, by.request].filter(Boolean).join(" · ");
  const text = more.map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return element("tr", {}, ...cells, element("td", { className: "text" }, text));
}
