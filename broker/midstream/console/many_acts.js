/** One act on all streams that the list's conditions fit: first counted, then confirmed, then done step by step. */

import { ACTS, bodyOf } from "./acts.js";
import { listAddress } from "./address.js";
import { announce, confirmed } from "./dialog.js";
import { actOnMany } from "./operate.js";
import { count } from "./words.js";

/**
 * Asks which act, counts, asks again, and does it.
 * @param {[string, string][]} conditions
 * @param {(url: string, how?: object) => void} go
 * @throws {Refused} There is no condition, or one does not fit.
 */
export async function actOnAll(conditions, go) {
  if (!conditions.length) throw new Error("Set a condition first: an act on all streams needs one.");
  const where = whereOf(conditions);
  const words = conditions.map(([name, value]) => `${name} = ${value}`).join(", ");
  const options = Object.entries(ACTS).map(([name, { label }]) => [name, label]);
  const chosen = await confirmed({
    title: "Which act?",
    text: `It concerns all streams with ${words}. Nothing is done before they are counted and you confirm it.`,
    fields: [{ name: "act", label: "Act", options }],
    button: "Count the streams",
    isHarmless: true,
  });
  if (chosen === null) return;
  const act = chosen.act;
  const { label, text, fields = [] } = ACTS[act];
  const { count: fit } = await actOnMany({ act, where, dry_run: true });
  if (!fit) return void announce("No stream fits these conditions.");
  const values = await confirmed({
    title: `${label} ${count(fit, "stream")}?`,
    text: `All streams with ${words}. ${text}`,
    fields,
    button: `${label} ${count(fit, "stream")}`,
  });
  if (values === null) return;
  const tally = await inSteps({ act, where, ...bodyOf(fields, values) }, fit);
  const refused = Object.entries(tally.refused).map(([code, times]) => `${count(times, "refusal")} (${code})`);
  announce([`${label}: done for ${count(tally.done, "stream")}`, ...refused].join(", ") + ".");
  go(listAddress(conditions), { replace: true });
}

async function inSteps(order, expect) {
  const tally = { done: 0, refused: {} };
  let cursor = null;
  do {
    const step = await actOnMany({ ...order, expect, ...(cursor && { cursor }) });
    tally.done += step.done;
    let met = step.done;
    for (const [code, times] of Object.entries(step.refused)) {
      tally.refused[code] = (tally.refused[code] ?? 0) + times;
      met += times;
    }
    expect = Math.max(0, expect - met);
    cursor = step.next_cursor;
  } while (cursor !== null && expect > 0);
  return tally;
}

/** Conditions as the order wants them: a name that is repeated has a list. */
function whereOf(conditions) {
  const where = {};
  for (const [name, value] of conditions) (where[name] ??= []).push(value);
  return Object.fromEntries(Object.entries(where).map(([name, values]) => [name, values.length > 1 ? values : values[0]]));
}
