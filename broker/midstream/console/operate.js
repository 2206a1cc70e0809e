/** What the console asks the broker, below `/v1/operate`. */

import { ask } from "/page/api.js";

const ROOT = "/v1/operate";
/** How far the broker's clock is ahead of this browser's, in ms. */
let aheadMs = 0;

/** The time by the broker's clock, in ms. */
export function nowMs() {
  return Date.now() + aheadMs;
}

/** Asks whether this browser's session is an operator's. @throws {Refused} It is not. */
export function probe(onRetry) {
  return read("brokers", { onRetry });
}

/** Reads `/v1/operate/<path>`. @throws what `ask` throws */
export async function read(path, options) {
  const answer = await ask("GET", `${ROOT}/${path}`, options);
  if (answer.now_ms) aheadMs = answer.now_ms - Date.now();
  return answer;
}

/** Reads what concerns one stream: its report, or with `/entries` or `/shape` these. */
export function readStream({ tenant, id }, path = "", options = {}) {
  return read(`streams/${pathOf(tenant, id)}${path}`, options);
}

/** Does an act to one stream; see PROTOCOL's Operate/Acts. */
export function act({ tenant, id }, name, body) {
  if (name === "delete") return ask("DELETE", `${ROOT}/streams/${pathOf(tenant, id)}`);
  return ask("POST", `${ROOT}/streams/${pathOf(tenant, id)}/${name}`, { body: body ?? {} });
}

/** Does an act to all streams that fit, or counts them; see PROTOCOL's Operate/Many. */
export function actOnMany(order) {
  return ask("POST", `${ROOT}/acts`, { body: order });
}

/** Asks a worker or a broker to end. */
export function drain(kind, name) {
  return ask("POST", `${ROOT}/${kind}s/${encodeURIComponent(name)}/drain`);
}

function pathOf(tenant, id) {
  return `${encodeURIComponent(tenant)}/${encodeURIComponent(id)}`;
}
